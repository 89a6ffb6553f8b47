# SPDX-License-Identifier: Apache-2.0
"""What survives the death of a monitor, and what the next one resumes."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from orchestrator import events
from orchestrator.channel.protocol import (
    Command,
    PolicyPacket,
    Request,
    Unit,
    encode,
    encode_policy,
)
from orchestrator.monitor.link.commands import (
    CloseChannel,
    ForgetDomain,
    SetPolicyVote,
    SwitchChannel,
    WithdrawVotes,
)
from orchestrator.values.domain import DomainId
from tests.monitor.monitor_harness import (
    LOWEST,
    NOMINAL,
    SIZE,
    TURBO,
    UUID,
    MonitorHarness,
    monitor_harness,
    until,
    with_monitor,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


@with_monitor
async def test_the_monitor_s_death_leaves_frequencies_and_votes(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.request(DISABLE)
    await guest.request(MIN)
    before = main.counters()
    await _kill_monitor(main)
    assert main.frequency() == LOWEST
    assert main.monitor.pid is None
    main.file(0, "scaling_setspeed").write_text("1\n")
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.frequency() == LOWEST, "the vote is resumed")
    again = main.open_channel()
    # Not UP: a request whose answer is late is repeated, and would move twice.
    assert await again.request(MAX) == "ACK"
    assert main.frequency() == NOMINAL  # turbo is still off
    # An answer is sent before it is counted.
    await until(lambda: main.counters().acks > before.acks, "the counters go on")
    assert await guest.receive() == b""


async def _kill_monitor(main: MonitorHarness) -> None:
    os.kill(main.pid(), signal.SIGKILL)
    await main.wait_for(events.MonitorDied(-signal.SIGKILL))


@with_monitor
async def test_definitions_made_without_a_monitor_reach_the_next_one(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.request(MIN)
    await _kill_monitor(main)
    other = DomainId("00000000-0000-0000-0000-000000000002")
    main.define_domain(0, uuid=other)
    main.monitor.send(WithdrawVotes(UUID, 0))
    refused = main.open_channel()
    await main.wait_for(events.EndpointClosed(UUID, 0, "monitor unavailable"))
    assert await refused.receive() == b""
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.frequency() == TURBO, "the end of all votes")
    assert await main.open_channel(uuid=other).request(MIN) == "ACK"
    assert main.monitor.snapshot().requested_khz == {
        (UUID, 0): None,
        (other, 0): LOWEST,
    }


@with_monitor
async def test_a_policy_s_vote_takes_the_group_and_outlives_a_monitor(
    main: MonitorHarness,
) -> None:
    main.add_group()
    main.define_domain(0)
    main.monitor.send(SetPolicyVote(UUID, 0, LOWEST))
    await main.wait_for(events.TakeWanted(0))
    await until(lambda: main.frequency() == LOWEST, "the policy's frequency")
    await _kill_monitor(main)
    main.file(0, "scaling_setspeed").write_text("1\n")
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.frequency() == LOWEST, "the policy's frequency again")
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): LOWEST}
    assert await main.open_channel().request(MAX) == "ACK"
    assert main.frequency() == TURBO
    main.monitor.send(WithdrawVotes(UUID, None))
    await until(lambda: main.frequency() == LOWEST, "only the policy's frequency")
    main.monitor.send(SetPolicyVote(UUID, 0, 0))
    await until(lambda: main.frequency() == TURBO, "the end of all votes")
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): None}


@with_monitor
async def test_main_forgets_a_policy_s_vote_when_the_vcpu_leaves_its_group(
    main: MonitorHarness,
) -> None:
    main.add_group()
    main.add_group(1)
    main.define_domain(0, 0)
    for vcpu in (0, 1, 2):
        main.monitor.send(SetPolicyVote(UUID, vcpu, LOWEST))
    main.define_domain(0, 1)
    await _kill_monitor(main)
    main.define_domain(1)
    main.define_domain(0)
    await main.monitor.start()
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): None}
    main.monitor.send(SetPolicyVote(UUID, 0, LOWEST))
    main.monitor.send(ForgetDomain(UUID))
    main.define_domain(0)
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): None}


@with_monitor
async def test_guests_policies_are_received_and_answered(main: MonitorHarness) -> None:
    guest = main.simple()
    packet = encode_policy(PolicyPacket(vm_name=b"me", num_vcpu=1))
    assert await guest.exchange(packet) == packet[:12] + b"\1" + packet[13:]
    for sent in main.posted:
        assert isinstance(sent, events.PolicySent)
        assert (sent.uuid, sent.number, sent.generation) == (UUID, 0, SIZE)
        assert sent.packet == packet
    assert main.posted
    main.is_accepting_policies = False
    assert await guest.exchange(packet) == packet[:12] + b"\2" + packet[13:]
    await guest.send(encode(Request(0, 0, Command.PKT_POLICY_REMOVE)))
    await main.wait_for(events.PolicyRemoved(UUID, 0))


def _close_the_channel(main: MonitorHarness) -> None:
    main.monitor.send(CloseChannel(UUID, 0))


def _disable_the_channel(main: MonitorHarness) -> None:
    main.monitor.send(SwitchChannel(UUID, 0, is_enabled=False))


def _withdraw_its_votes(main: MonitorHarness) -> None:
    main.monitor.send(WithdrawVotes(UUID, 0))


def _withdraw_all_votes(main: MonitorHarness) -> None:
    main.monitor.send(WithdrawVotes(UUID, None))


def _move_the_vcpu(main: MonitorHarness) -> None:
    main.define_domain(1)
    main.define_domain(0)


def _forget_the_domain(main: MonitorHarness) -> None:
    main.monitor.send(ForgetDomain(UUID))
    main.define_domain(0)


@pytest.mark.parametrize(
    "withdraw",
    [
        _close_the_channel,
        _disable_the_channel,
        _withdraw_its_votes,
        _withdraw_all_votes,
        _move_the_vcpu,
        _forget_the_domain,
    ],
)
def test_withdrawals_that_a_dying_monitor_does_not_process_are_applied(
    tmp_path: Path, withdraw: Callable[[MonitorHarness], None]
) -> None:
    async def run() -> None:
        async with monitor_harness(tmp_path) as main:
            guest = main.simple()
            main.add_group(1)
            await guest.request(MIN)
            os.kill(main.pid(), signal.SIGSTOP)
            withdraw(main)
            await _kill_monitor(main)
            assert main.frequency() == LOWEST
            await main.monitor.start()
            main.hand_over_again()
            await until(lambda: main.frequency() == TURBO, "the end of all votes")
            assert main.monitor.snapshot().requested_khz == {(UUID, 0): None}

    asyncio.run(run())


@with_monitor
async def test_withdrawals_that_were_processed_are_not_applied_again(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.request(MIN)
    main.monitor.send(WithdrawVotes(UUID, 0))
    await until(lambda: main.frequency() == TURBO, "the end of the vote")
    await guest.request(MIN)
    os.kill(main.pid(), signal.SIGSTOP)
    main.monitor.send(SwitchChannel(UUID, 1, is_enabled=True))  # ends no votes
    await _kill_monitor(main)
    await main.monitor.start()
    main.hand_over_again()
    again = main.open_channel()
    # Not UP: a request whose answer is late is repeated, and would move twice.
    assert await again.request(DISABLE) == "ACK"
    assert main.frequency() == LOWEST, "the vote is lost"


@with_monitor
async def test_a_vcpu_that_moved_without_a_monitor_has_lost_its_vote(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    main.add_group(1)
    await guest.request(MIN)
    await _kill_monitor(main)
    main.define_domain(1)
    main.define_domain(0)
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.frequency() == TURBO, "the end of all votes")


@with_monitor
async def test_a_domain_that_was_forgotten_without_a_monitor_leaves_nothing(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.request(MIN)
    await _kill_monitor(main)
    main.monitor.send(ForgetDomain(UUID))
    await main.monitor.start()
    main.define_domain(0)
    main.hand_over_again()
    await until(lambda: main.frequency() == TURBO, "the end of all votes")
    await main.open_channel().request(MAX)
    await until(lambda: main.counters().acks == 1, "only the new ACK is counted")
