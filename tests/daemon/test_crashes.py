# SPDX-License-Identifier: Apache-2.0
"""kill -9, at random moments, under traffic: the host is restored."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from tests.daemon.daemon_process import CHECKOUT, DaemonProcess
from tests.daemon.libvirt_test_guests import GuestEnd, tree_bytes, write_driver_file
from tests.daemon.traffic import Traffic
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree

POLICY = "devices/system/cpu/cpufreq/policy{}"
GOVERNORS = ("performance", "powersave", "schedutil")


@pytest.fixture
def distinct(tree: CpuTree) -> dict[str, bytes]:
    """Give each CPU its own settings, all different from the default."""
    for number in range(8):
        policy = tree.root / POLICY.format(number)
        governor = GOVERNORS[number % len(GOVERNORS)]
        (policy / "scaling_governor").write_text(f"{governor}\n", encoding="ascii")
        khz = 1_200_000 + number * 7_919
        (policy / "scaling_setspeed").write_text(f"{khz}\n", encoding="ascii")
    return tree_bytes(tree.root)


def is_taken(tree: CpuTree, group: int) -> bool:
    return tree.read(POLICY.format(group) + "/scaling_governor") == "userspace"


def begin(daemon: DaemonProcess, tree: CpuTree, ends: list[GuestEnd]) -> None:
    """Wait until both channels are connected and their clock groups taken."""
    for number, end in enumerate(ends):
        end.accept()
        end.connect_packet()
        wait_for(partial(is_taken, tree, 2 + number), "the governor is ours")
    assert daemon.monitor_pid


def moment(seed: int) -> None:
    """Let traffic run for a random time."""
    threading.Event().wait(random.Random(seed).uniform(0.0, 0.25))


@pytest.mark.parametrize("seed", range(6))
def test_the_monitor_restores_everything_if_main_dies(
    tree: CpuTree,
    uri: str,
    ends: list[GuestEnd],
    distinct: dict[str, bytes],
    seed: int,
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        with Traffic(ends):
            moment(seed)
            daemon.kill()
            wait_for(lambda: tree_bytes(tree.root) == distinct, "the tree is as it was")


def kill_both(daemon: DaemonProcess) -> None:
    """Kill main and monitor so that the monitor cannot restore anything."""
    monitor = daemon.monitor_pid
    os.kill(monitor, signal.SIGSTOP)
    daemon.kill()
    os.kill(monitor, signal.SIGKILL)


@pytest.mark.parametrize("seed", range(3))
def test_the_next_start_restores_everything_if_both_die(
    directory: Path,
    tree: CpuTree,
    uri: str,
    ends: list[GuestEnd],
    distinct: dict[str, bytes],
    seed: int,
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        with Traffic(ends):
            moment(seed)
            kill_both(daemon)
        assert tree_bytes(tree.root) != distinct
        daemon.uri = write_driver_file(directory / "empty.xml", [])
        daemon.start()
        assert tree_bytes(tree.root) == distinct
        daemon.wait_for_log("restored clock groups left by a previous run")


def test_a_stopped_monitor_of_a_killed_daemon_writes_nothing_over_its_successor(
    tree: CpuTree, uri: str, ends: list[GuestEnd], distinct: dict[str, bytes]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        before = daemon.monitor_pid
        os.kill(before, signal.SIGSTOP)
        daemon.kill()
        daemon.start()
        assert f"killing the monitor of a daemon that was killed pid={before}" in (
            daemon.log_text()
        )
        with suppress(ProcessLookupError):
            os.kill(before, signal.SIGCONT)
        begin(daemon, tree, ends)
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        assert is_taken(tree, 2)
        assert daemon.monitor_pid != before
        assert daemon.stop() == 0
    assert tree_bytes(tree.root) == distinct


def test_the_monitor_restores_everything_if_main_dies_in_its_orderly_end(
    tree: CpuTree, uri: str, ends: list[GuestEnd], distinct: dict[str, bytes]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        daemon.stop()
        daemon.module = "tests.daemon.killed_at_restore"
        daemon.start()
        begin(daemon, tree, ends)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait_until_ended() == -signal.SIGKILL
        wait_for(lambda: tree_bytes(tree.root) == distinct, "the tree is as it was")


def change_governor(tree: CpuTree, group: int, governor: str) -> None:
    """Do as an administrator does."""
    path = tree.root / POLICY.format(group) / "scaling_governor"
    path.write_text(f"{governor}\n", encoding="ascii")


def test_what_an_operator_changed_after_a_death_survives_the_next_start(
    directory: Path,
    tree: CpuTree,
    uri: str,
    ends: list[GuestEnd],
    distinct: dict[str, bytes],
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        daemon.kill()
        wait_for(lambda: tree_bytes(tree.root) == distinct, "the monitor's hand")
        change_governor(tree, 2, "conservative")
        changed = tree_bytes(tree.root)
        daemon.uri = write_driver_file(directory / "empty.xml", [])
        daemon.start()
        assert tree_bytes(tree.root) == changed
        daemon.wait_for_log("not restored: governor was changed since the previous run")
        assert "restored clock groups left by a previous run" not in daemon.log_text()
        assert not (daemon.run_dir / "restore.json").exists()


def test_groups_that_were_never_taken_survive_the_death_of_both(
    directory: Path, tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        ends[0].accept()
        journal = daemon.run_dir / "restore.json"
        wait_for(journal.exists, "the group is prepared")
        change_governor(tree, 2, "conservative")
        kill_both(daemon)
        daemon.uri = write_driver_file(directory / "empty.xml", [])
        daemon.start()
        assert tree.read(POLICY.format(2) + "/scaling_governor") == "conservative"


@pytest.mark.parametrize("death", ["of main", "of both", "none"])
def test_a_governor_that_was_changed_before_the_take_is_restored(
    directory: Path, tree: CpuTree, uri: str, ends: list[GuestEnd], death: str
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        ends[0].accept()
        wait_for((daemon.run_dir / "restore.json").exists, "the group is prepared")
        change_governor(tree, 2, "conservative")
        before = tree_bytes(tree.root)
        ends[0].connect_packet()
        wait_for(partial(is_taken, tree, 2), "the governor is ours")
        match death:
            case "of main":
                daemon.kill()
            case "of both":
                kill_both(daemon)
                daemon.uri = write_driver_file(directory / "empty.xml", [])
                daemon.start()
            case _:
                assert daemon.stop() == 0
        wait_for(lambda: tree_bytes(tree.root) == before, "the tree is as it was")


def test_groups_that_cannot_be_restored_yet_stay_in_the_journal_after_a_clean_exit(
    directory: Path,
    tree: CpuTree,
    uri: str,
    ends: list[GuestEnd],
    distinct: dict[str, bytes],
) -> None:
    governor = tree.root / POLICY.format(2) / "scaling_governor"
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        kill_both(daemon)
        governor.rename(directory / "hidden")
        governor.symlink_to("/dev/full")  # as for an offline CPU: it accepts no write
        daemon.uri = write_driver_file(directory / "empty.xml", [])
        daemon.start()
        assert daemon.stop() == 0
        daemon.wait_for_log("try `vmpower restore`: clock group 2: cannot")
        governor.unlink()
        (directory / "hidden").rename(governor)
        daemon.start()
        assert tree_bytes(tree.root) == distinct


@pytest.mark.parametrize("seed", range(3))
def test_the_restore_command_restores_everything_if_both_died(
    tree: CpuTree,
    uri: str,
    ends: list[GuestEnd],
    distinct: dict[str, bytes],
    seed: int,
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        with Traffic(ends):
            moment(seed)
            kill_both(daemon)
        assert tree_bytes(tree.root) != distinct
        command = [
            *(sys.executable, "-m", "cli", "--run-dir", str(daemon.run_dir)),
            *("restore", "--sysfs-root", str(tree.root)),
        ]
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert tree_bytes(tree.root) == distinct


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_monitor_changes_no_frequency_and_every_channel_is_back(
    tree: CpuTree,
    uri: str,
    ends: list[GuestEnd],
    distinct: dict[str, bytes],
    seed: int,
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        with Traffic(ends) as traffic:
            moment(seed)
            dead = daemon.monitor_pid
            os.kill(dead, signal.SIGKILL)
            before = [*traffic.answers]
            wait_for(
                lambda: all(
                    now > then + 5
                    for now, then in zip(traffic.answers, before, strict=True)
                ),
                "answers on every channel",
            )
        assert daemon.monitor_pid != dead
        status = daemon.status()
        assert status["daemon"]["monitor_restarts_total"] == 1
        assert [c["claimed"] for c in status["cpus"] if c["pcpu"] in (2, 3)] == [
            True,
            True,
        ]
        assert daemon.stop() == 0
    assert tree_bytes(tree.root) == distinct


def test_a_stopped_monitor_is_replaced_and_guests_are_served_again(
    tree: CpuTree, uri: str, ends: list[GuestEnd], distinct: dict[str, bytes]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        stopped = daemon.monitor_pid
        os.kill(stopped, signal.SIGSTOP)
        daemon.wait_for(lambda s: s["daemon"]["monitor_pid"] not in (None, stopped))
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        daemon.wait_for_log(f"monitor process hangs, killing it pid={stopped}")
        assert daemon.stop() == 0
    assert tree_bytes(tree.root) == distinct


def test_frequencies_and_votes_stay_when_the_monitor_dies(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        dead = daemon.monitor_pid
        os.kill(dead, signal.SIGKILL)
        daemon.wait_for(lambda s: s["daemon"]["monitor_pid"] not in (None, dead))
        daemon.wait_for_channel("dpdk-0", 0, "open")
        cur_freq = POLICY.format(2) + "/scaling_cur_freq"
        assert tree.read(cur_freq) == "1200000"
        (domain,) = daemon.status()["domains"]
        assert domain["vcpus"][0]["requested_khz"] == 1_200_000


def test_votes_of_a_guest_that_cannot_be_reached_again_end(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        dead = daemon.monitor_pid
        ends[0].path.unlink()  # the connection stays open, a new one is impossible
        os.kill(dead, signal.SIGKILL)
        daemon.wait_for_channel("dpdk-0", 0, "absent")
        cur_freq = POLICY.format(2) + "/scaling_cur_freq"
        wait_for(lambda: tree.read(cur_freq) == "3001000", "the highest step")
        (domain,) = daemon.status()["domains"]
        assert domain["vcpus"][0]["requested_khz"] is None


def test_ctrl_c_during_traffic_restores_everything(
    tree: CpuTree, uri: str, ends: list[GuestEnd], distinct: dict[str, bytes]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        begin(daemon, tree, ends)
        with Traffic(ends):
            moment(1)
            # As a terminal does: to the whole process group.
            os.kill(daemon.monitor_pid, signal.SIGINT)
            daemon.signal(signal.SIGINT)
            assert daemon.wait_until_ended() == 0
    assert tree_bytes(tree.root) == distinct
