# SPDX-License-Identifier: Apache-2.0
"""Channels of P-states: connected and followed as the others are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.controller import actions as a
from orchestrator.controller.refusal_causes import find_causes
from orchestrator.monitor.link import commands as c
from orchestrator.values.domain import ChannelKind, ChannelSpec, DomainState, Target
from orchestrator.values.frequencies import FrequencyTable
from orchestrator.values.p_state_channels import FIRST_NUMBER, build_channels
from orchestrator.values.p_states import PStateEndpoint, PStatePort, PStates
from orchestrator.values.refusal import Refusal
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, channel, domain

TABLE = FrequencyTable((3_000_000, 1_200_000), has_turbo=False)
FIRST = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=16, step_bits=4)
SECOND = PStatePort(io_base=0x5D0, irq=3, first_vcpu=16, vcpus=1, step_bits=4)
P_STATES = PStates(
    tables=(TABLE,) * 17,
    ports=(FIRST, SECOND),
    endpoints=(PStateEndpoint(SECOND, "/run/second", "serial2", "7:7"),),
)
NUMBER = FIRST_NUMBER


def own(path: str = "/run/p-states", table: FrequencyTable = TABLE) -> ChannelSpec:
    one = PStates(tables=(table, table), ports=(FIRST,))
    return ChannelSpec(
        number=NUMBER, target=Target("0x5c0"), path=path, steps=one.steps_of(FIRST)
    )


SPEC = domain(channels=(channel(0), own()))
UUID = SPEC.uuid


@pytest.fixture
def host() -> SimulatedHost:
    """One domain whose channels of both kinds are open."""
    host = SimulatedHost(domains={UUID: SPEC})
    host.start()
    host.settle()
    assert states(host) == {0: ChannelState.OPEN, NUMBER: ChannelState.OPEN}
    return host


def states(host: SimulatedHost) -> dict[int, ChannelState]:
    channels = host.inventory.domains[UUID].channels
    return {number: record.state for number, record in channels.items()}


def describe(host: SimulatedHost, **more: object) -> list[a.Action]:
    spec = replace(SPEC, **more)  # type: ignore[arg-type]
    host.domains[UUID] = spec
    return host.react(e.DomainDescribed(spec, NOW_NS))


def test_a_port_has_the_number_of_its_place_in_the_note() -> None:
    (found,) = build_channels(P_STATES)
    assert found == ChannelSpec(
        number=FIRST_NUMBER + 1,
        target=Target("0x5d0"),
        path="/run/second",
        alias="serial2",
        socket="7:7",
        steps=P_STATES.steps_of(SECOND),
    )
    assert found.kind is ChannelKind.P_STATES
    assert channel(0).kind is ChannelKind.AGENT


def test_a_domain_without_p_states_has_no_such_channel() -> None:
    assert build_channels(None) == ()


def test_another_table_needs_another_connection(host: SimulatedHost) -> None:
    table = FrequencyTable((2_000_000, 1_200_000), has_turbo=False)
    decided = describe(host, channels=(channel(0), own(table=table)))
    closing = decided.index(c.CloseChannel(UUID, NUMBER))
    (again,) = (x for x in decided if isinstance(x, a.ConnectChannel))
    assert (again.number, closing < decided.index(again)) == (NUMBER, True)
    host.settle()
    assert states(host)[NUMBER] is ChannelState.OPEN


def test_the_same_description_changes_nothing(host: SimulatedHost) -> None:
    assert describe(host) == []


def test_a_reboot_ends_all_votes(host: SimulatedHost) -> None:
    assert c.WithdrawVotes(UUID, None) in host.react(e.DomainRebooted(UUID))
    assert states(host)[NUMBER] is ChannelState.OPEN


def test_its_end_and_its_next_start_are_followed(host: SimulatedHost) -> None:
    describe(host, state=DomainState.SHUTOFF, run=-1)
    assert states(host) == {0: ChannelState.ABSENT, NUMBER: ChannelState.ABSENT}
    describe(host, run=2)
    host.settle()
    assert states(host) == {0: ChannelState.OPEN, NUMBER: ChannelState.OPEN}


@pytest.mark.parametrize(
    ("reason", "vcpu", "cause"),
    [
        (Refusal.NO_STEP, 0, "the guest's P-state table has no step 9 for vCPU 0"),
        (Refusal.NO_VCPU, 1, "the guest's P-state table has no vCPU 1 on this port"),
        (Refusal.NO_VCPU, 7, "no such vCPU: 7; the domain has vCPUs 0-1"),
    ],
)
def test_what_does_not_exist_is_explained(
    host: SimulatedHost, reason: Refusal, vcpu: int, cause: str
) -> None:
    decided = host.react(e.RequestRefused(UUID, NUMBER, reason, vcpu, 9))
    (report,) = (x for x in decided if isinstance(x, a.Report))
    text = f"requests of channel {NUMBER} refused ({reason.word}): {cause}"
    assert report.text == text
    record = host.inventory.domains[UUID]
    assert find_causes(host.inventory, record, NUMBER) == {reason.word: cause}
