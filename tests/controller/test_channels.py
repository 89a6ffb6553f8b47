# SPDX-License-Identifier: Apache-2.0
"""Connecting, losing and switching channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.controller import actions as a
from orchestrator.controller.guest_ports import PORT_STATE_LAGS_NS
from orchestrator.monitor.link import commands as c
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, channel, domain

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainSpec


def one_channel() -> DomainSpec:
    return domain(channels=(channel(0),))


def described(spec: DomainSpec) -> SimulatedHost:
    host = SimulatedHost(domains={spec.uuid: spec})
    host.is_monitor_up = True
    host.react(e.TopologyRead(host.topology), e.MonitorStarted())
    host.to_do.clear()
    return host


def delays(decided: list[a.Action]) -> list[float]:
    return [x.delay_s for x in decided if isinstance(x, a.ConnectChannel)]


def closing(spec: DomainSpec, number: int) -> list[a.Action]:
    return [
        a.EndGuestPolicies(spec.uuid, number, ""),
        c.CloseChannel(spec.uuid, number),
    ]


def test_the_first_attempt_is_made_at_once() -> None:
    host = described(spec := one_channel())
    assert delays(host.react(e.DomainDescribed(spec, NOW_NS))) == [0.0]


def test_the_outcome_of_an_attempt_is_reported_and_not_its_begin() -> None:
    host = described(spec := one_channel())
    connected = e.ChannelConnected(spec.uuid, 0, "/run/channel.0")
    decided = [host.react(e.DomainDescribed(spec, NOW_NS)), host.react(connected)]
    texts = [[it.text for it in each if isinstance(it, a.Report)] for each in decided]
    assert texts == [["domain is running"], ["channel 0 is open"]]


def test_retries_back_off_from_20_ms_to_5_s() -> None:
    host = described(spec := one_channel())
    host.react(e.DomainDescribed(spec, NOW_NS))
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "no listener")
    waits = [delays(host.react(absent))[0] for _ in range(12)]
    assert waits[:4] == [0.02, 0.04, 0.08, 0.16]
    assert waits[-1] == 5.0


def test_an_attempt_that_fails_again_is_not_reported_again() -> None:
    host = described(spec := one_channel())
    host.react(e.DomainDescribed(spec, NOW_NS))
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "no listener")
    first, second = host.react(absent), host.react(absent)
    assert [type(x) for x in first] == [a.Report, a.ConnectChannel]
    assert [type(x) for x in second] == [a.ConnectChannel]


def test_a_contended_channel_is_a_warning_only_if_that_lasts() -> None:
    host = described(spec := one_channel())
    host.react(e.DomainDescribed(spec, NOW_NS))
    held = e.ChannelContended(spec.uuid, 0, "/run/channel.0", "another program")
    severities = []
    for _ in range(8):
        decided = host.react(held)
        severities += [it.severity for it in decided if isinstance(it, a.Report)]
    assert severities == [a.Severity.INFO, a.Severity.WARNING]


def test_a_contended_channel_is_tried_with_patience() -> None:
    host = described(spec := one_channel())
    host.react(e.DomainDescribed(spec, NOW_NS))
    held = e.ChannelContended(spec.uuid, 0, "/run/channel.0", "another program")
    assert delays(host.react(held)) == [1.0]
    record = host.inventory.channel(spec.uuid, 0)
    assert record
    assert (record.state, record.reason) == (ChannelState.CONTENDED, "another program")


def test_a_refused_channel_waits_for_the_next_resync() -> None:
    host = described(spec := one_channel())
    host.react(e.DomainDescribed(spec, NOW_NS))
    refused = e.ChannelRefused(spec.uuid, 0, "/run/channel.0", "user 1234 listens")
    assert delays(host.react(refused)) == []
    assert len(delays(host.react(e.ResyncDue()))) == 1


def test_an_outcome_for_a_path_of_the_past_is_closed_again() -> None:
    host = described(spec := one_channel())
    host.react(e.DomainDescribed(spec, NOW_NS))
    late = e.ChannelConnected(spec.uuid, 0, "/run/old.0")
    assert host.react(late) == closing(spec, 0)


def test_a_connection_to_a_domain_that_is_gone_is_closed_again() -> None:
    host = described(spec := one_channel())
    late = e.ChannelConnected(spec.uuid, 0, "/run/channel.0")
    assert host.react(late) == closing(spec, 0)


def test_a_guest_that_hangs_up_is_tried_again_soon_and_asked_about() -> None:
    host = described(spec := one_channel())
    host.start()
    host.settle()
    decided = host.react(e.EndpointClosed(spec.uuid, 0, "end of file"))
    assert delays(decided) == [0.02]
    assert a.DescribeDomain(spec.uuid) in decided
    record = host.inventory.channel(spec.uuid, 0)
    assert record
    assert record.state is ChannelState.CLOSED


def test_a_disabled_channel_stays_disabled_over_a_reconnect() -> None:
    host = described(spec := one_channel())
    host.start()
    host.settle()
    decided = host.react(e.ChannelSwitched(spec.uuid, 0, is_enabled=False))
    assert c.SwitchChannel(spec.uuid, 0, is_enabled=False) in decided
    host.react(e.EndpointClosed(spec.uuid, 0, "end of file"))
    host.settle()
    record = host.inventory.channel(spec.uuid, 0)
    assert record
    assert record.state is ChannelState.DISABLED


def test_a_channel_disabled_before_it_connects_opens_disabled() -> None:
    host = described(spec := one_channel())
    host.react(e.DomainDescribed(spec, NOW_NS))
    host.react(e.ChannelSwitched(spec.uuid, 0, is_enabled=False))
    decided = host.react(e.ChannelConnected(spec.uuid, 0, "/run/channel.0"))
    assert c.SwitchChannel(spec.uuid, 0, is_enabled=False) in decided
    record = host.inventory.channel(spec.uuid, 0)
    assert record
    assert record.state is ChannelState.DISABLED


def test_a_guest_that_closes_its_port_loses_that_channels_votes() -> None:
    host = described(spec := domain())
    host.start()
    host.settle()
    closed = e.GuestPortChanged(spec.uuid, "channel1", is_open=False, at_ns=NOW_NS)
    ended = a.EndPortSession(spec.uuid, 1, NOW_NS, is_closed=True)
    assert host.react(closed) == [ended]
    opened = e.GuestPortChanged(spec.uuid, "channel1", is_open=True, at_ns=NOW_NS)
    replaced = a.EndPortSession(spec.uuid, 1, NOW_NS, is_closed=False)
    assert host.react(opened) == [replaced]


def test_the_live_xml_shows_a_closed_port_too() -> None:
    spec = domain(channels=(channel(0, is_guest_connected=True),))
    host = described(spec)
    host.start()
    host.settle()
    later = replace(spec, channels=(channel(0, is_guest_connected=False),))
    before_ns = NOW_NS - PORT_STATE_LAGS_NS
    ended = a.EndPortSession(spec.uuid, 0, before_ns, is_closed=True)
    assert host.react(e.DomainDescribed(later, NOW_NS)) == [ended]
    assert host.react(e.DomainDescribed(later, NOW_NS)) == []


def test_a_close_that_is_reported_late_is_checked() -> None:
    spec = domain(channels=(channel(0, is_guest_connected=False),))
    host = described(spec)
    host.start()
    host.settle()
    host.spoke_ns[spec.uuid, 0] = NOW_NS + 1
    closed = e.GuestPortChanged(spec.uuid, "channel0", is_open=False, at_ns=NOW_NS)
    host.react(closed)
    host.react_to_posted()
    assert a.DescribeDomain(spec.uuid) in host.to_do
    # Silent for as long as a report may take: the port's state is current.
    asked_ns = NOW_NS + 1 + PORT_STATE_LAGS_NS
    ended = a.EndPortSession(spec.uuid, 0, NOW_NS + 1, is_closed=True)
    assert host.react(e.DomainDescribed(spec, asked_ns)) == [ended]
    assert host.react(e.DomainDescribed(spec, asked_ns)) == []


def test_a_port_that_is_open_after_all_keeps_what_was_asked() -> None:
    spec = domain(channels=(channel(0, is_guest_connected=True),))
    host = described(spec)
    host.start()
    host.settle()
    assert host.react(e.PortCloseUnconfirmed(spec.uuid, 0)) == [
        a.DescribeDomain(spec.uuid)
    ]
    assert host.react(e.DomainDescribed(spec, NOW_NS)) == []
    # An open port that is reported settles a doubt, too.
    host.react(e.PortCloseUnconfirmed(spec.uuid, 0))
    opened = e.GuestPortChanged(spec.uuid, "channel0", is_open=True, at_ns=NOW_NS)
    host.react(opened)
    unknown = replace(spec, channels=(channel(0, is_guest_connected=None),))
    assert host.react(e.DomainDescribed(unknown, NOW_NS)) == []
    assert host.react(e.PortCloseUnconfirmed(spec.uuid, 7)) == []


def test_a_channel_that_was_unplugged_is_closed_and_forgotten() -> None:
    host = described(spec := domain())
    host.start()
    host.settle()
    decided = host.react(
        e.DomainDescribed(replace(spec, channels=(channel(1),)), NOW_NS)
    )
    assert c.CloseChannel(spec.uuid, 0) in decided
    assert set(host.inventory.domains[spec.uuid].channels) == {1}


def test_a_dead_monitor_costs_every_channel_and_a_new_one_gets_them_all() -> None:
    host = described(spec := domain())
    host.start()
    host.settle()
    host.open_channels.clear()
    host.is_monitor_up = False
    decided = host.react(e.MonitorDied(-9))
    assert a.StartMonitor() in decided
    assert not any(isinstance(x, a.DropGroup) for x in decided)
    host.settle()
    assert host.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}
    assert host.inventory.monitor_restarts_total == 1


def orphaned() -> tuple[SimulatedHost, DomainSpec]:
    """A channel whose votes have lost the monitor that held it."""
    host = described(spec := one_channel())
    host.start()
    host.settle()
    host.react(e.MonitorDied(-9))
    host.react(e.MonitorStarted())
    return host, spec


def seconds_until_withdrawn(host: SimulatedHost, failure: e.Event) -> float:
    waited_s = 0.0
    for _ in range(20):
        decided = host.react(failure)
        if any(isinstance(x, c.WithdrawVotes) for x in decided):
            return waited_s
        waited_s += delays(decided)[0]
    raise AssertionError("the votes stay")


def test_votes_of_a_channel_that_does_not_reconnect_end_after_a_second() -> None:
    host, spec = orphaned()
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "no listener")
    assert 1.0 <= seconds_until_withdrawn(host, absent) <= 2.0
    assert not any(isinstance(x, c.WithdrawVotes) for x in host.react(absent))


def test_votes_of_a_channel_that_another_program_took_end_at_its_second_look() -> None:
    host, spec = orphaned()
    held = e.ChannelContended(spec.uuid, 0, "/run/channel.0", "another program")
    assert seconds_until_withdrawn(host, held) == 1.0


def test_votes_of_a_channel_that_is_refused_end_at_once() -> None:
    host, spec = orphaned()
    refused = e.ChannelRefused(spec.uuid, 0, "/run/channel.0", "user 1234 listens")
    assert c.WithdrawVotes(spec.uuid, 0) in host.react(refused)


def test_votes_of_a_channel_that_comes_back_stay() -> None:
    host, spec = orphaned()
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "no listener")
    decided = host.react(absent, e.ChannelConnected(spec.uuid, 0, "/run/channel.0"))
    # It hung up: the monitor ends its votes, the controller none.
    decided += host.react(e.EndpointClosed(spec.uuid, 0, "end of file"))
    for _ in range(20):
        decided += host.react(absent)
    assert not any(isinstance(x, c.WithdrawVotes) for x in decided)
