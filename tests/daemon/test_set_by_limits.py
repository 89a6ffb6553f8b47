# SPDX-License-Identifier: Apache-2.0
"""A daemon whose CPUs have a driver that chooses frequencies itself, as files."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import tree_bytes, write_driver_file
from tests.daemon.test_crashes import kill_both
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemon.libvirt_test_guests import GuestEnd

POLICY = "devices/system/cpu/cpufreq/policy{}"
LOWEST, NOMINAL, TURBO = 800_000, 2_400_000, 3_600_000


@pytest.fixture
def active(directory: Path) -> CpuTree:
    """Eight simulated CPUs with intel_pstate in the mode active."""
    lay_out(directory / "active", cpus=8, driver="intel_pstate")
    return CpuTree(directory / "active")


def limits(tree: CpuTree) -> list[int | None]:
    names = ("scaling_min_freq", "scaling_max_freq")
    return [tree.read_khz(f"{POLICY.format(2)}/{name}") for name in names]


def test_a_request_pins_the_limits_and_the_end_restores_them(
    active: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    before = tree_bytes(active.root)
    with DaemonProcess(uri, active.root) as daemon:
        begin(daemon, ends)
        for unit, khz in (
            (Unit.SCALE_MIN, LOWEST),
            (Unit.SCALE_UP, LOWEST + 100_000),
            (Unit.SCALE_MAX, TURBO),
            (Unit.DISABLE_TURBO, NOMINAL),
        ):
            assert ends[0].request(0, unit) is Answer.ACK
            assert limits(active) == [khz, khz]
        governor = active.read(f"{POLICY.format(2)}/scaling_governor")
        assert governor == "performance"
        cpu = next(cpu for cpu in daemon.status()["cpus"] if cpu["pcpu"] == 2)
        # What the daemon sets is not a limit of the kernel.
        assert (cpu["min_khz"], cpu["max_khz"]) == (LOWEST, TURBO)
        daemon.stop()
    assert tree_bytes(active.root) == before


def begin(daemon: DaemonProcess, ends: list[GuestEnd]) -> None:
    ends[0].accept()
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
    assert daemon.monitor_pid


def test_the_monitor_restores_the_limits_if_main_dies(
    active: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    before = tree_bytes(active.root)
    with DaemonProcess(uri, active.root) as daemon:
        begin(daemon, ends)
        daemon.kill()
        wait_for(lambda: tree_bytes(active.root) == before, "the tree is as it was")


def test_the_next_start_restores_the_limits_if_both_die(
    directory: Path, active: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    before = tree_bytes(active.root)
    with DaemonProcess(uri, active.root) as daemon:
        begin(daemon, ends)
        kill_both(daemon)
        assert tree_bytes(active.root) != before
        daemon.uri = write_driver_file(directory / "empty.xml", [])
        daemon.start()
        assert tree_bytes(active.root) == before


def test_a_group_that_the_kernel_created_again_is_taken_again(
    active: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    """As by a change of intel_pstate/status; the guest's vote lives on."""
    with DaemonProcess(uri, active.root, resync_s=1) as daemon:
        begin(daemon, ends)
        policy, old = active.root / POLICY.format(2), active.root / "old"
        shutil.copytree(policy, active.root / "new", symlinks=True)
        for name, value in {
            "scaling_max_freq": TURBO,
            "scaling_governor": "powersave",
        }.items():
            (active.root / "new" / name).write_text(f"{value}\n")
        policy.rename(old)
        (active.root / "new").rename(policy)
        wait_for(lambda: limits(active) == [LOWEST, LOWEST], "it is pinned again")
        assert ends[0].request(0, Unit.SCALE_UP) is Answer.ACK
        assert limits(active) == [LOWEST + 100_000] * 2
        daemon.wait_for_log("the kernel replaced the scaling driver")
        daemon.stop()
    assert active.read_khz(f"{POLICY.format(2)}/scaling_max_freq") == TURBO
