# SPDX-License-Identifier: Apache-2.0
"""Channels of guests that exceed their budget for long, or send garbage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.controller import actions as a
from orchestrator.controller.quarantine import (
    CALM_RESYNCS,
    FIRST_QUARANTINE_S,
    LONGEST_QUARANTINE_S,
)
from orchestrator.monitor.link import commands as c
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import channel, domain

if TYPE_CHECKING:
    from orchestrator.controller.records import ChannelRecord

SPEC = domain(channels=(channel(0),))
UUID = SPEC.uuid
FLOODED = e.ChannelAbused(UUID, 0, is_garbage=False)
GARBAGE = e.ChannelAbused(UUID, 0, is_garbage=True)


@pytest.fixture
def host() -> SimulatedHost:
    """One domain whose channel is open."""
    host = SimulatedHost(domains={UUID: SPEC})
    host.start()
    host.settle()
    assert record(host).state is ChannelState.OPEN
    return host


def record(host: SimulatedHost) -> ChannelRecord:
    return host.inventory.domains[UUID].channels[0]


def delays(decided: list[a.Action]) -> list[float]:
    return [x.delay_s for x in decided if isinstance(x, a.ConnectChannel)]


@pytest.mark.parametrize(
    ("abuse", "reason"),
    [
        (FLOODED, "sent more than 50000 requests per second; closed for 10 s"),
        (GARBAGE, "sent garbage; closed for 10 s"),
    ],
)
def test_the_channel_is_closed_and_connected_again_later(
    host: SimulatedHost, abuse: e.ChannelAbused, reason: str
) -> None:
    decided = host.react(abuse)
    closing = decided.index(c.CloseChannel(UUID, 0))
    (again,) = (x for x in decided if isinstance(x, a.ConnectChannel))
    assert closing < decided.index(again)
    assert again.delay_s == FIRST_QUARANTINE_S
    assert (record(host).state, record(host).reason) == (
        ChannelState.QUARANTINED,
        reason,
    )
    assert [x.text for x in decided if isinstance(x, a.Report)] == [
        f"channel 0 is quarantined: {reason}"
    ]
    host.settle()
    assert record(host).state is ChannelState.OPEN
    assert record(host).reason == ""


def test_each_quarantine_is_longer_up_to_ten_minutes(host: SimulatedHost) -> None:
    seconds = []
    for _ in range(10):
        seconds += delays(host.react(FLOODED))
        host.settle()
    assert seconds[:3] == [10.0, 20.0, 40.0]
    assert seconds[-1] == LONGEST_QUARANTINE_S


def test_a_long_time_without_abuse_is_rewarded(host: SimulatedHost) -> None:
    for _ in range(3):
        host.react(FLOODED)
        host.settle()
    for _ in range(CALM_RESYNCS - 1):
        host.react(e.ResyncDue())
    assert record(host).quarantines == 3
    host.react(e.ResyncDue())
    assert delays(host.react(FLOODED)) == [FIRST_QUARANTINE_S]


def test_enabling_the_channel_ends_its_quarantine(host: SimulatedHost) -> None:
    host.react(FLOODED)
    decided = host.react(e.ChannelSwitched(UUID, 0, is_enabled=True))
    assert delays(decided) == [0.0]
    host.settle()
    assert record(host).state is ChannelState.OPEN
    assert delays(host.react(FLOODED)) == [FIRST_QUARANTINE_S]


def test_disabling_the_channel_does_not(host: SimulatedHost) -> None:
    host.react(FLOODED)
    reason = record(host).reason
    assert delays(host.react(e.ChannelSwitched(UUID, 0, is_enabled=False))) == []
    assert record(host).state is ChannelState.QUARANTINED
    assert record(host).reason == reason
    host.settle()
    assert record(host).state is ChannelState.DISABLED


def test_a_death_of_the_monitor_does_not_end_it(host: SimulatedHost) -> None:
    host.react(FLOODED)
    host.react(e.MonitorDied(1))
    assert record(host).state is ChannelState.QUARANTINED
    assert delays(host.react(e.MonitorStarted())) == [FIRST_QUARANTINE_S]


def test_a_report_about_a_closed_or_unknown_channel_has_no_effect(
    host: SimulatedHost,
) -> None:
    host.react(FLOODED)
    assert host.react(FLOODED) == []
    assert host.react(e.ChannelAbused(UUID, 99, is_garbage=True)) == []


def test_the_clock_groups_of_a_quarantined_guest_are_not_needed(
    host: SimulatedHost,
) -> None:
    assert host.inventory.is_needed(0)
    host.react(FLOODED)
    assert not host.inventory.is_needed(0)
