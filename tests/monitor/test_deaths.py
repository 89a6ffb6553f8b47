"""What the death of a monitor leaves, and what the next one knows."""

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
    MIDDLE,
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
async def test_a_death_of_the_monitor_leaves_clocks_and_votes(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.ask(DISABLE)
    await guest.ask(MIN)
    before = main.counters()
    await _kill_monitor(main)
    assert main.clock() == LOWEST
    assert main.monitor.pid is None
    await main.monitor.start()
    main.hand_over_again()
    again = main.open_channel()
    assert await again.ask(UP) == "ACK"
    assert main.clock() == MIDDLE
    assert await again.ask(MAX) == "ACK"
    assert main.clock() == NOMINAL  # turbo is still off
    assert main.counters().acks >= before.acks + 1
    assert await guest.receive() == b""


async def _kill_monitor(main: MonitorHarness) -> None:
    os.kill(main.pid(), signal.SIGKILL)
    await main.hear(events.MonitorDied(-signal.SIGKILL))


@with_monitor
async def test_what_is_said_while_no_monitor_lives_is_known_to_the_next(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    await _kill_monitor(main)
    other = DomainId("00000000-0000-0000-0000-000000000002")
    main.define_domain(0, uuid=other)
    main.monitor.send(WithdrawVotes(UUID, 0))
    refused = main.open_channel()
    await main.hear(events.EndpointClosed(UUID, 0, "the monitor is not available"))
    assert await refused.receive() == b""
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.clock() == TURBO, "no vote is left")
    assert await main.open_channel(uuid=other).ask(MIN) == "ACK"
    assert main.monitor.snapshot().wishes == {(UUID, 0): None, (other, 0): LOWEST}


@with_monitor
async def test_a_policy_s_vote_takes_the_group_and_outlives_a_monitor(
    main: MonitorHarness,
) -> None:
    main.offer()
    main.define_domain(0)
    main.monitor.send(SetPolicyVote(UUID, 0, LOWEST))
    await main.hear(events.TakeWanted(0))
    await until(lambda: main.clock() == LOWEST, "the policy's clock")
    await _kill_monitor(main)
    main.file(0, "scaling_setspeed").write_text("1\n")
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.clock() == LOWEST, "the policy's clock again")
    assert main.monitor.snapshot().wishes == {(UUID, 0): LOWEST}
    assert await main.open_channel().ask(MAX) == "ACK"
    assert main.clock() == TURBO
    main.monitor.send(WithdrawVotes(UUID, None))
    await until(lambda: main.clock() == LOWEST, "the policy's clock alone")
    main.monitor.send(SetPolicyVote(UUID, 0, 0))
    await until(lambda: main.clock() == TURBO, "no vote is left")
    assert main.monitor.snapshot().wishes == {(UUID, 0): None}


@with_monitor
async def test_a_policy_s_vote_ends_with_the_vcpu_s_place_also_for_main(
    main: MonitorHarness,
) -> None:
    main.offer()
    main.offer(1)
    main.define_domain(0, 0)
    for vcpu in (0, 1, 2):
        main.monitor.send(SetPolicyVote(UUID, vcpu, LOWEST))
    main.define_domain(0, 1)
    await _kill_monitor(main)
    main.define_domain(1)
    main.define_domain(0)
    await main.monitor.start()
    assert main.monitor.snapshot().wishes == {(UUID, 0): None}
    main.monitor.send(SetPolicyVote(UUID, 0, LOWEST))
    main.monitor.send(ForgetDomain(UUID))
    main.define_domain(0)
    assert main.monitor.snapshot().wishes == {(UUID, 0): None}


@with_monitor
async def test_guests_policies_are_heard_and_answered(main: MonitorHarness) -> None:
    guest = main.simple()
    packet = encode_policy(PolicyPacket(vm_name=b"me", num_vcpu=1))
    assert await guest.exchange(packet) == packet[:12] + b"\1" + packet[13:]
    for sent in main.heard:
        assert isinstance(sent, events.PolicySent)
        assert (sent.uuid, sent.number, sent.generation) == (UUID, 0, SIZE)
        assert sent.packet == packet
    assert main.heard
    main.is_taking_policies = False
    assert await guest.exchange(packet) == packet[:12] + b"\2" + packet[13:]
    await guest.send(encode(Request(0, 0, Command.PKT_POLICY_REMOVE)))
    await main.hear(events.PolicyRemoved(UUID, 0))


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
    "say",
    [
        _close_the_channel,
        _disable_the_channel,
        _withdraw_its_votes,
        _withdraw_all_votes,
        _move_the_vcpu,
        _forget_the_domain,
    ],
)
def test_what_a_dying_monitor_does_not_hear_is_done_all_the_same(
    tmp_path: Path, say: Callable[[MonitorHarness], None]
) -> None:
    async def run() -> None:
        async with monitor_harness(tmp_path) as main:
            guest = main.simple()
            main.offer(1)
            await guest.ask(MIN)
            os.kill(main.pid(), signal.SIGSTOP)
            say(main)
            await _kill_monitor(main)
            assert main.clock() == LOWEST
            await main.monitor.start()
            main.hand_over_again()
            await until(lambda: main.clock() == TURBO, "no vote is left")
            assert main.monitor.snapshot().wishes == {(UUID, 0): None}

    asyncio.run(run())


@with_monitor
async def test_what_a_monitor_has_done_is_not_done_again_after_its_death(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    main.monitor.send(WithdrawVotes(UUID, 0))
    await until(lambda: main.clock() == TURBO, "the end of the vote")
    await guest.ask(MIN)
    os.kill(main.pid(), signal.SIGSTOP)
    main.monitor.send(
        SwitchChannel(UUID, 1, is_enabled=True)
    )  # says nothing about votes
    await _kill_monitor(main)
    await main.monitor.start()
    main.hand_over_again()
    again = main.open_channel()
    assert await again.ask(UP) == "ACK"
    assert main.clock() == MIDDLE, "not the step above the lowest: the vote was lost"


@with_monitor
async def test_a_vcpu_that_moved_while_no_monitor_lived_has_lost_its_vote(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    main.offer(1)
    await guest.ask(MIN)
    await _kill_monitor(main)
    main.define_domain(1)
    main.define_domain(0)
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.clock() == TURBO, "no vote is left")


@with_monitor
async def test_a_domain_forgotten_while_no_monitor_lived_leaves_nothing(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    await _kill_monitor(main)
    main.monitor.send(ForgetDomain(UUID))
    await main.monitor.start()
    main.define_domain(0)
    main.hand_over_again()
    await until(lambda: main.clock() == TURBO, "no vote is left")
    await main.open_channel().ask(MAX)
    await until(lambda: main.counters().acks == 1, "only the new ACK is counted")
