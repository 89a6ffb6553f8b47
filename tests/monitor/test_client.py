# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import pwd
import select
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from orchestrator import events
from orchestrator.channel.protocol import (
    Request,
    Unit,
    encode,
)
from orchestrator.errors import HandoffError
from orchestrator.monitor.client.client import (
    FILES_PER_GROUP,
    START_TIMEOUT_S,
    Monitor,
    monitor_user,
)
from orchestrator.monitor.link.commands import WithdrawVotes
from orchestrator.power.mechanisms.registry import MECHANISMS
from orchestrator.power.writer import WRITERS
from orchestrator.values.domain import DomainId
from tests.monitor.monitor_harness import (
    LOWEST,
    TIMEOUT_S,
    UUID,
    MonitorHarness,
    monitor_harness,
    until,
    with_monitor,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
ROOT = Path(__file__).parents[2]


# The process


def test_a_group_without_votes_is_yielded(tmp_path: Path) -> None:
    async def run() -> None:
        async with monitor_harness(tmp_path, release_after_s=0.05) as main:
            guest = main.simple()
            await guest.request(MIN)
            main.monitor.send(WithdrawVotes(UUID, None))
            await main.wait_for(events.GroupYielded(0))
            assert main.monitor.snapshot().grants == {0: None}

    asyncio.run(run())


def test_a_monitor_that_does_not_start_in_time_is_not_reported_as_dead() -> None:
    """Its death would start a second one, beside that of the failed start's retry."""

    async def run() -> None:
        posted: list[events.Event] = []
        monitor = Monitor(release_after_s=1, post=posted.append)
        monitor.start_timeout_s = 0
        for _ in range(2):
            with pytest.raises(HandoffError, match="did not start"):
                await monitor.start()
            assert monitor.pid is None
        await monitor.stop(TIMEOUT_S)
        assert posted == []

    asyncio.run(run())


def test_a_monitor_that_starts_slowly_gets_more_time_at_each_attempt() -> None:
    """Otherwise no attempt would succeed on a machine that is slow enough."""

    async def run() -> None:
        monitor = Monitor(release_after_s=1, post=lambda _event: None)
        monitor.start_timeout_s = 0.001
        for _ in range(20):
            with suppress(HandoffError):
                await monitor.start()
                break
        assert monitor.pid is not None
        assert monitor.start_timeout_s == START_TIMEOUT_S
        await monitor.stop(TIMEOUT_S)

    asyncio.run(run())


@with_monitor
async def test_the_monitor_leaves_signals_to_main(main: MonitorHarness) -> None:
    guest = main.simple()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(main.pid(), number)
    assert await guest.request(MIN) == "ACK"


@with_monitor
async def test_the_monitor_has_no_privileges(main: MonitorHarness) -> None:
    status = Path(f"/proc/{main.monitor.pid}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["NoNewPrivs"] == "1"
    for capabilities in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(facts[capabilities], 16) == 0
    if os.geteuid() == 0:
        assert facts["Uid"].split() == ["65534"] * 4
        assert facts["Gid"].split() == ["65534"] * 4
        assert facts["Groups"].split() == []


def test_the_monitor_s_user_is_vmpower_or_nobody_and_never_root() -> None:
    daemon = pwd.getpwnam("daemon")
    assert monitor_user("daemon") == (daemon.pw_uid, daemon.pw_gid)
    assert monitor_user("no such user") == (65_534, 65_534)
    assert monitor_user("root") == (65_534, 65_534)


MULTIPLY = """
import os, threading
from orchestrator.monitor.process import privileges
is_root = os.geteuid() == 0
privileges.drop(*(65534, 65534) if is_root else (None, None))
failed = []
for multiply in (os.fork, threading.Thread(target=print).start):
    try:
        multiply()
    except (OSError, RuntimeError):
        failed.append(multiply.__name__)
print(*failed)
"""


def test_a_monitor_creates_no_other_process_or_thread() -> None:
    done = subprocess.run(
        [Path(sys.executable).resolve(), "-c", MULTIPLY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "fork start\n"


AMBIENT = """
import os, sys
from orchestrator.monitor.process import privileges
before = open("/proc/self/status").read()
assert "CapAmb:\\t0000000000000000" not in before, before
privileges.drop(None, None)
after = open("/proc/self/status").read()
print(*(line for line in after.splitlines() if line.startswith("Cap")), sep="\\n")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give")
def test_capabilities_of_a_daemon_that_is_not_root_are_dropped() -> None:
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
    del sets["CapBnd"]  # has no effect without the right to gain capabilities
    assert {int(held, 16) for held in sets.values()} == {0}


@with_monitor
async def test_hundreds_of_channels_and_groups_are_handed_over(
    main: MonitorHarness,
) -> None:
    count = 200
    for number in range(count):
        main.add_group(number)
        uuid = DomainId(f"00000000-0000-0000-0000-{number:012}")
        main.define_domain(number, uuid=uuid)
        guest = main.open_channel(uuid=uuid)
        await guest.send(encode(Request(0, MIN)))
    await until(
        lambda: all(main.frequency(number) == LOWEST for number in range(count)),
        "the frequencies",
    )


def test_a_monitor_starts_even_if_main_has_many_files_open(tmp_path: Path) -> None:
    async def run() -> None:
        async with monitor_harness(tmp_path) as main:
            assert await main.simple().request(MIN) == "ACK"

    with ExitStack() as stack:
        for _ in range(1_024):  # beyond the limit of select()
            stack.enter_context(Path("/dev/null").open("rb"))
        asyncio.run(run())


@with_monitor
async def test_a_stopped_monitor_is_killed_and_a_working_one_is_not(
    main: MonitorHarness,
) -> None:
    first = main.pid()
    progress: list[int] = []
    main.monitor.on_progress = lambda: progress.append(1)
    processed = main.monitor.processed_total
    await until(lambda: main.monitor.processed_total >= processed + 2, "two heartbeats")
    assert main.posted == []
    assert progress
    os.kill(first, signal.SIGSTOP)
    before = len(progress)
    await main.wait_for(events.MonitorDied(-signal.SIGKILL))
    assert len(progress) <= before + 1  # it had processed everything until then
    await main.monitor.start()
    processed = main.monitor.processed_total
    await until(
        lambda: main.monitor.processed_total >= processed + 2, "two more heartbeats"
    )
    assert main.pid() != first
    assert len(main.posted) == 1


def test_a_frozen_monitor_is_killed_at_the_timeout(tmp_path: Path) -> None:
    async def run() -> None:
        main = MonitorHarness(tmp_path)
        await main.monitor.start()
        os.kill(main.pid(), signal.SIGSTOP)
        await main.monitor.stop(0.05)
        assert (main.monitor.pid, main.posted) == (None, [])

    asyncio.run(run())


def test_stopping_restores_nothing(tmp_path: Path) -> None:
    async def run() -> MonitorHarness:
        async with monitor_harness(tmp_path) as main:
            await main.simple().request(MIN)
        return main

    main = asyncio.run(run())
    assert main.frequency() == LOWEST
    assert main.file(0, "scaling_governor").read_text() == "userspace\n"
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): LOWEST}
    assert main.posted == [events.TakeWanted(0)]


def test_a_monitor_that_does_not_start_is_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        unknown_uid = 2**40
        monitor = Monitor(release_after_s=1, post=lambda _event: None, uid=unknown_uid)
        with pytest.raises(HandoffError, match="status 1"):
            await monitor.start()
        await monitor.stop(TIMEOUT_S)

    asyncio.run(run())
    assert "monitor: Traceback (most recent call last):" in caplog.messages
    assert any("setresuid" in line for line in caplog.messages)


@with_monitor
async def test_a_quiesced_monitor_has_closed_the_channels_and_restores_nothing(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.request(MIN)
    await main.monitor.quiesce(TIMEOUT_S)
    assert await guest.receive() == b""
    assert main.frequency() == LOWEST
    os.kill(main.pid(), 0)  # it is still there
    await main.monitor.stop(TIMEOUT_S)
    assert main.monitor.pid is None
    assert main.file(0, "scaling_governor").read_text() == "userspace\n"
    assert main.posted == [events.TakeWanted(0)]


# Main's death


@pytest.mark.parametrize("stage", [(), ("stopping",)], ids=["serving", "stopping"])
def test_a_killed_main_leaves_the_tree_as_it_was(
    tmp_path: Path, stage: tuple[str, ...]
) -> None:
    groups = 4
    main = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.monitor.killed_parent",
            str(tmp_path),
            str(groups),
            *stage,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert main.stdout is not None
    monitor = os.pidfd_open(int(main.stdout.readline()))
    changed = tmp_path / "policy2" / "scaling_governor"
    assert changed.read_text() == "userspace\n"
    # A group that was not taken may have been changed by its owner; it is left alone.
    untaken = tmp_path / f"policy{groups - 1}" / "scaling_governor"
    untaken.write_text("an operator's\n")
    main.kill()
    main.wait()
    main.stdout.close()
    assert select.select([monitor], [], [], TIMEOUT_S)[0], "the monitor is still alive"
    os.close(monitor)
    for number in range(groups - 1):
        directory = tmp_path / f"policy{number}"
        assert {file.name: file.read_bytes() for file in directory.iterdir()} == {
            "scaling_setspeed": b"%d\n" % (1_000_000 + number),
            "scaling_max_freq": b"%d\n" % (2_900_000 + number),
            "scaling_governor": b"governor-%d\n" % number,
        }
    assert untaken.read_text() == "an operator's\n"


@pytest.mark.parametrize("name", MECHANISMS)
def test_room_is_reserved_for_all_descriptors_of_a_mechanism(name: str) -> None:
    count = len(WRITERS[name].ATTRIBUTES) + len(MECHANISMS[name].ORIGINALS)
    assert count <= FILES_PER_GROUP
