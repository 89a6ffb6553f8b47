from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import (
    Command,
    PolicyPacket,
    Request,
    Unit,
    encode,
    encode_connect,
    encode_policy,
)
from orchestrator.domain import DomainId
from orchestrator.errors import HandoffError
from orchestrator.monitor.process import Monitor
from tests.monitor.household import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    PATIENCE_S,
    SIZE,
    TURBO,
    UUID,
    Household,
    household,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.monitor.views import Counters

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
ROOT = Path(__file__).parents[2]


def with_main(test: Callable[[Household], Awaitable[None]]) -> Callable[[Path], None]:
    """Run a test on a household of its own."""

    async def run(directory: Path) -> None:
        async with household(directory) as main:
            await test(main)

    def wrapped(tmp_path: Path) -> None:
        asyncio.run(run(tmp_path))

    wraps(test)(wrapped)
    del wrapped.__dict__["__wrapped__"]  # pytest would ask that one for its arguments
    return wrapped


# The way of a request


@with_main
async def test_a_guest_changes_the_clock_of_its_cpu(main: Household) -> None:
    guest = main.simple()
    await guest.send(encode_connect())
    await main.hear("take_wanted", 0)
    clocks = []
    for unit in (ENABLE, DISABLE, UP, DOWN, MIN, MAX):
        assert await guest.ask(unit) == "ACK"
        clocks.append(main.clock())
    assert clocks == [TURBO, NOMINAL, NOMINAL, MIDDLE, LOWEST, NOMINAL]
    assert main.heard == [("take_wanted", 0)]


@with_main
async def test_the_snapshot_says_what_the_monitor_did(main: Household) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    await guest.ask(MAX, core_type=1)
    await until(lambda: main.counters().nacks == 1, "a refusal")
    seen = main.monitor.snapshot()
    assert seen.wishes == {(UUID, 0): LOWEST}
    assert seen.grants == {0: LOWEST}
    assert seen.refusals == {0: 0}
    assert list(seen.channels) == [(UUID, 0)]


@with_main
async def test_what_a_guest_may_not_ask_is_refused(main: Household) -> None:
    guest = main.simple()
    assert await guest.ask(MIN, vcpu=1) == "NACK"
    assert await guest.ask(MIN, vcpu=2**64 - 1) == "NACK"
    assert await guest.ask(MIN, core_type=1) == "NACK"
    assert await guest.ask(77) == "NACK"
    assert main.heard == []
    assert main.monitor.snapshot().wishes == {(UUID, 0): None}


@with_main
async def test_a_first_request_waits_for_its_group_to_be_taken(main: Household) -> None:
    main.is_taking = False
    guest = main.simple()
    await guest.send(encode(Request(0, MIN)))
    await main.hear("take_wanted", 0)
    main.take()
    await until(lambda: main.clock() == LOWEST, "the clock")
    # Within 8 ms it is answered, later it is not.
    await until(lambda: sum(_done(main.counters())) == 1, "the answer's fate")
    assert main.counters().requests == 1


def _done(counters: Counters) -> tuple[int, int]:
    return counters.acks, counters.late


@with_main
async def test_an_operator_s_clock_holds_against_a_guest(main: Household) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    view = main.group_view(override_khz=MIDDLE)
    main.monitor.define_group(view)
    await until(lambda: main.clock() == MIDDLE, "the operator's clock")
    assert await guest.ask(MAX) == "NACK"
    main.monitor.define_group(main.group_view())
    await until(lambda: main.clock() == TURBO, "the guest's clock")


@with_main
async def test_channels_are_switched_off_and_on(main: Household) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    main.monitor.switch_channel(UUID, 0, is_enabled=False)
    await until(lambda: main.clock() == TURBO, "the end of the vote")
    assert await guest.ask(MIN) == "NACK"
    main.monitor.close_channel(UUID, 0)
    assert await guest.receive() == b""
    again = main.open_channel()
    assert await again.ask(MIN) == "NACK"
    main.monitor.switch_channel(UUID, 0, is_enabled=True)
    # A request may overtake main's word: it comes by another socket.
    while await again.ask(MIN) == "NACK":
        pass
    assert main.clock() == LOWEST
    assert ("endpoint_closed", UUID, 0, "hung up") not in main.heard


@with_main
async def test_votes_are_withdrawn_and_a_domain_forgotten(main: Household) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    main.monitor.withdraw_votes(UUID, 0)
    await until(lambda: main.clock() == TURBO, "the highest step")
    await guest.ask(MIN)
    main.monitor.forget_domain(UUID)
    await until(lambda: main.clock() == TURBO, "the highest step")
    assert await guest.receive() == b""
    assert main.monitor.snapshot().channels == {}


@with_main
async def test_counters_go_on_over_a_new_connection_until_the_domain_is_off(
    main: Household,
) -> None:
    await main.simple().ask(77)
    await until(lambda: main.counters().nacks == 1, "a refusal")
    main.monitor.close_channel(UUID, 0)
    await main.open_channel().ask(77)
    await until(lambda: main.counters().nacks == 2, "another refusal")
    main.monitor.forget_domain(UUID)
    main.define_domain(0)
    await main.open_channel().ask(77)
    await until(lambda: main.counters().nacks == 1, "the first of the next run")


# Guests that misbehave


@with_main
async def test_a_guest_that_never_reads_is_served_ten_thousand_times(
    main: Household,
) -> None:
    main.offer()
    main.define_domain(0, 0)
    deaf, other = main.open_channel(0), main.open_channel(1)
    await deaf.ask(MIN)
    packets = (encode(Request(0, MAX)) + encode(Request(0, MIN))) * 50
    for _ in range(100):
        await deaf.send(packets)
    assert await other.ask(MIN, vcpu=1) == "ACK"
    await until(lambda: main.counters().requests >= 10_001, "all requests")
    seen = main.counters()
    assert seen.nacks == seen.errors == 0
    assert seen.dropped + seen.late > 9_000
    # What had been given is whole packets, and the stream goes on behind it.
    given = seen.acks - 1
    data = await deaf.receive(given * SIZE)
    assert {data[i : i + SIZE] for i in range(0, len(data), SIZE)} == {
        packets[:SIZE],
        packets[SIZE : 2 * SIZE],
    }
    assert await deaf.ask(MIN) == "ACK"


@with_main
async def test_garbage_costs_a_guest_no_more_than_the_garbage(main: Household) -> None:
    guest = main.simple()
    await guest.send(b"\xff" * (20 * SIZE + 100))
    await until(lambda: main.counters().errors > 0, "the garbage")
    assert await guest.ask(MIN) == "ACK"
    assert main.heard == [("take_wanted", 0)]


@with_main
async def test_a_name_in_a_packet_moves_nobody_else_s_clock(main: Household) -> None:
    other = DomainId("00000000-0000-0000-0000-000000000002")
    main.offer(0)
    main.offer(1)
    main.define_domain(0)
    main.define_domain(1, uuid=other)
    victim = main.open_channel(uuid=other)
    await victim.ask(MAX)
    spoof = bytearray(encode(Request(0, MIN)))
    spoof[16:48] = other.encode()[:32]
    guest = main.open_channel()
    await guest.ask(MAX)
    await guest.send(bytes(spoof))
    await until(lambda: main.clock(0) == LOWEST, "its own clock")
    assert main.clock(1) == TURBO


@with_main
async def test_a_guest_that_hangs_up_is_reported_and_its_vote_ends(
    main: Household,
) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    guest.close()
    await main.hear("endpoint_closed", UUID, 0, "hung up")
    await until(lambda: main.clock() == TURBO, "the highest step")
    assert main.counters().acks >= 1


@with_main
async def test_the_end_of_an_earlier_endpoint_is_not_taken_for_the_present_one(
    main: Household,
) -> None:
    earlier = main.simple()
    await earlier.ask(MIN)
    earlier.close()
    main.monitor.close_channel(UUID, 0)
    guest = main.open_channel()
    assert await guest.ask(MIN) == "ACK"
    assert main.heard == [("take_wanted", 0)]


# The process


def test_a_group_without_votes_is_yielded(tmp_path: Path) -> None:
    async def run() -> None:
        async with household(tmp_path, release_after_s=0.05) as main:
            guest = main.simple()
            await guest.ask(MIN)
            main.monitor.withdraw_votes(UUID, None)
            await main.hear("group_yielded", 0)
            assert main.monitor.snapshot().grants == {0: None}

    asyncio.run(run())


@with_main
async def test_the_monitor_leaves_signals_to_main(main: Household) -> None:
    guest = main.simple()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(_pid(main), number)
    assert await guest.ask(MIN) == "ACK"


@with_main
async def test_the_monitor_has_no_privileges(main: Household) -> None:
    status = Path(f"/proc/{main.monitor.pid}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["NoNewPrivs"] == "1"
    for capabilities in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(facts[capabilities], 16) == 0
    if os.geteuid() == 0:
        assert facts["Uid"].split() == ["65534"] * 4
        assert facts["Gid"].split() == ["65534"] * 4
        assert facts["Groups"].split() == []


AMBIENT = """
import os, sys
from orchestrator.monitor import privileges
before = open("/proc/self/status").read()
assert "CapAmb:\\t0000000000000000" not in before, before
privileges.drop(None, None)
after = open("/proc/self/status").read()
print(*(line for line in after.splitlines() if line.startswith("Cap")), sep="\\n")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give")
def test_capabilities_of_a_daemon_that_is_not_root_are_given_up() -> None:
    setpriv = [
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
    ]
    done = subprocess.run(
        [*setpriv, Path(sys.executable).resolve(), "-c", AMBIENT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sets = dict(line.split(":\t") for line in done.stdout.splitlines())
    del sets["CapBnd"]  # without the right to gain any it bounds nothing
    assert {int(held, 16) for held in sets.values()} == {0}


@with_main
async def test_hundreds_of_channels_and_groups_are_handed_over(main: Household) -> None:
    count = 200
    for number in range(count):
        main.offer(number)
        uuid = DomainId(f"00000000-0000-0000-0000-{number:012}")
        main.define_domain(number, uuid=uuid)
        guest = main.open_channel(uuid=uuid)
        await guest.send(encode(Request(0, MIN)))
    await until(
        lambda: all(main.clock(number) == LOWEST for number in range(count)), "clocks"
    )


def test_a_monitor_starts_however_many_files_main_has_open(tmp_path: Path) -> None:
    async def run() -> None:
        async with household(tmp_path) as main:
            assert await main.simple().ask(MIN) == "ACK"

    with ExitStack() as stack:
        for _ in range(1_024):  # where select() ends
            stack.enter_context(Path("/dev/null").open("rb"))
        asyncio.run(run())


@with_main
async def test_a_death_of_the_monitor_leaves_clocks_and_votes(main: Household) -> None:
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


def _pid(main: Household) -> int:
    pid = main.monitor.pid
    assert pid is not None
    return pid


async def _kill_monitor(main: Household) -> None:
    os.kill(_pid(main), signal.SIGKILL)
    await main.hear("monitor_died", -signal.SIGKILL)


@with_main
async def test_what_is_said_while_no_monitor_lives_is_known_to_the_next(
    main: Household,
) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    await _kill_monitor(main)
    other = DomainId("00000000-0000-0000-0000-000000000002")
    main.define_domain(0, uuid=other)
    main.monitor.withdraw_votes(UUID, 0)
    refused = main.open_channel()
    await main.hear("endpoint_closed", UUID, 0, "the monitor cannot have it")
    assert await refused.receive() == b""
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.clock() == TURBO, "no vote is left")
    assert await main.open_channel(uuid=other).ask(MIN) == "ACK"
    assert main.monitor.snapshot().wishes == {(UUID, 0): None, (other, 0): LOWEST}


@with_main
async def test_a_policy_s_vote_takes_the_group_and_outlives_a_monitor(
    main: Household,
) -> None:
    main.offer()
    main.define_domain(0)
    main.monitor.set_policy_vote(UUID, 0, LOWEST)
    await main.hear("take_wanted", 0)
    await until(lambda: main.clock() == LOWEST, "the policy's clock")
    await _kill_monitor(main)
    main.file(0, "scaling_setspeed").write_text("1\n")
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.clock() == LOWEST, "the policy's clock again")
    assert main.monitor.snapshot().wishes == {(UUID, 0): LOWEST}
    assert await main.open_channel().ask(MAX) == "ACK"
    assert main.clock() == TURBO
    main.monitor.withdraw_votes(UUID, None)
    await until(lambda: main.clock() == LOWEST, "the policy's clock alone")
    main.monitor.set_policy_vote(UUID, 0, None)
    await until(lambda: main.clock() == TURBO, "no vote is left")
    assert main.monitor.snapshot().wishes == {(UUID, 0): None}


@with_main
async def test_a_policy_s_vote_ends_with_the_vcpu_s_place_also_for_main(
    main: Household,
) -> None:
    main.offer()
    main.offer(1)
    main.define_domain(0, 0)
    for vcpu in (0, 1, 2):
        main.monitor.set_policy_vote(UUID, vcpu, LOWEST)
    main.define_domain(0, 1)
    await _kill_monitor(main)
    main.define_domain(1)
    main.define_domain(0)
    await main.monitor.start()
    assert main.monitor.snapshot().wishes == {(UUID, 0): None}
    main.monitor.set_policy_vote(UUID, 0, LOWEST)
    main.monitor.forget_domain(UUID)
    main.define_domain(0)
    assert main.monitor.snapshot().wishes == {(UUID, 0): None}


@with_main
async def test_guests_policies_are_heard_and_answered(main: Household) -> None:
    guest = main.simple()
    packet = encode_policy(PolicyPacket(vm_name=b"me", num_vcpu=1))
    assert await guest.exchange(packet) == packet[:12] + b"\1" + packet[13:]
    assert set(main.heard) == {("policy_sent", UUID, 0, SIZE, packet)}
    main.is_taking_policies = False
    assert await guest.exchange(packet) == packet[:12] + b"\2" + packet[13:]
    await guest.send(encode(Request(0, 0, Command.PKT_POLICY_REMOVE)))
    await main.hear("policy_removed", UUID, 0)


def _close_the_channel(main: Household) -> None:
    main.monitor.close_channel(UUID, 0)


def _disable_the_channel(main: Household) -> None:
    main.monitor.switch_channel(UUID, 0, is_enabled=False)


def _withdraw_its_votes(main: Household) -> None:
    main.monitor.withdraw_votes(UUID, 0)


def _withdraw_all_votes(main: Household) -> None:
    main.monitor.withdraw_votes(UUID, None)


def _move_the_vcpu(main: Household) -> None:
    main.define_domain(1)
    main.define_domain(0)


def _forget_the_domain(main: Household) -> None:
    main.monitor.forget_domain(UUID)
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
    tmp_path: Path, say: Callable[[Household], None]
) -> None:
    async def run() -> None:
        async with household(tmp_path) as main:
            guest = main.simple()
            main.offer(1)
            await guest.ask(MIN)
            os.kill(_pid(main), signal.SIGSTOP)
            say(main)
            await _kill_monitor(main)
            assert main.clock() == LOWEST
            await main.monitor.start()
            main.hand_over_again()
            await until(lambda: main.clock() == TURBO, "no vote is left")
            assert main.monitor.snapshot().wishes == {(UUID, 0): None}

    asyncio.run(run())


@with_main
async def test_what_a_monitor_has_done_is_not_done_again_after_its_death(
    main: Household,
) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    main.monitor.withdraw_votes(UUID, 0)
    await until(lambda: main.clock() == TURBO, "the end of the vote")
    await guest.ask(MIN)
    os.kill(_pid(main), signal.SIGSTOP)
    main.monitor.switch_channel(UUID, 1, is_enabled=True)  # says nothing about votes
    await _kill_monitor(main)
    await main.monitor.start()
    main.hand_over_again()
    again = main.open_channel()
    assert await again.ask(UP) == "ACK"
    assert main.clock() == MIDDLE, "not the step above the lowest: the vote was lost"


@with_main
async def test_a_vcpu_that_moved_while_no_monitor_lived_has_lost_its_vote(
    main: Household,
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


@with_main
async def test_a_domain_forgotten_while_no_monitor_lived_leaves_nothing(
    main: Household,
) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    await _kill_monitor(main)
    main.monitor.forget_domain(UUID)
    await main.monitor.start()
    main.define_domain(0)
    main.hand_over_again()
    await until(lambda: main.clock() == TURBO, "no vote is left")
    await main.open_channel().ask(MAX)
    await until(lambda: main.counters().acks == 1, "only the new ACK is counted")


def test_a_monitor_that_is_frozen_is_ended_in_time(tmp_path: Path) -> None:
    async def run() -> None:
        main = Household(tmp_path)
        await main.monitor.start()
        os.kill(_pid(main), signal.SIGSTOP)
        await main.monitor.stop(0.05)
        assert (main.monitor.pid, main.heard) == (None, [])

    asyncio.run(run())


def test_stopping_restores_nothing(tmp_path: Path) -> None:
    async def run() -> Household:
        async with household(tmp_path) as main:
            await main.simple().ask(MIN)
        return main

    main = asyncio.run(run())
    assert main.clock() == LOWEST
    assert main.file(0, "scaling_governor").read_text() == "userspace\n"
    assert main.monitor.snapshot().wishes == {(UUID, 0): LOWEST}
    assert main.heard == [("take_wanted", 0)]


def test_a_monitor_that_does_not_come_up_is_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def run() -> None:
        nobody_at_all = 2**40
        monitor = Monitor(
            release_after_s=1, listener=Household(Path()), uid=nobody_at_all
        )
        with pytest.raises(HandoffError, match="status 1"):
            await monitor.start()
        await monitor.stop(PATIENCE_S)

    asyncio.run(run())
    assert "setresuid" in capfd.readouterr().err


# Main's death


def test_a_killed_main_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    groups = 4
    main = subprocess.Popen(
        [sys.executable, "-m", "tests.monitor.doomed_main", str(tmp_path), str(groups)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert main.stdout is not None
    monitor = os.pidfd_open(int(main.stdout.readline()))
    changed = tmp_path / "policy2" / "scaling_governor"
    assert changed.read_text() == "userspace\n"
    # What nobody took may be somebody else's by now, and is not touched.
    untaken = tmp_path / f"policy{groups - 1}" / "scaling_governor"
    untaken.write_text("an operator's\n")
    main.kill()
    main.wait()
    main.stdout.close()
    assert select.select([monitor], [], [], PATIENCE_S)[0], "the monitor lives on"
    os.close(monitor)
    for number in range(groups - 1):
        directory = tmp_path / f"policy{number}"
        assert {file.name: file.read_bytes() for file in directory.iterdir()} == {
            "scaling_setspeed": b"%d\n" % (1_000_000 + number),
            "scaling_max_freq": b"%d\n" % (2_900_000 + number),
            "scaling_governor": b"governor-%d\n" % number,
        }
    assert untaken.read_text() == "an operator's\n"
