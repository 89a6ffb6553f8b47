# SPDX-License-Identifier: Apache-2.0
"""Threads of one core with a real daemon: pinned to both, and to one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import DriverDomain, GuestEnd, write_driver_file
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.documents import Cpu
    from orchestrator.power.sysfs import CpuTree

MIN, TURBO = 1_200_000, 3_001_000
FILE = "devices/system/cpu/cpufreq/policy{}/{}"


@pytest.fixture
def tree(tree: CpuTree) -> CpuTree:
    """Eight CPUs; CPUs N and N + 4 are threads of one core."""
    for pcpu in range(8):
        path = tree.cpu_dir / f"cpu{pcpu}" / "topology" / "thread_siblings_list"
        path.write_text(f"{pcpu % 4},{pcpu % 4 + 4}\n")
    return tree


def frequencies(tree: CpuTree, *pcpus: int) -> list[int | None]:
    return [tree.read_khz(FILE.format(pcpu, "scaling_setspeed")) for pcpu in pcpus]


def governors(tree: CpuTree, *pcpus: int) -> set[str]:
    return {tree.read(FILE.format(pcpu, "scaling_governor")) for pcpu in pcpus}


def cpu_of(daemon: DaemonProcess, pcpu: int) -> Cpu:
    return next(cpu for cpu in daemon.status()["cpus"] if cpu["pcpu"] == pcpu)


def test_a_vcpu_that_is_pinned_to_a_core_controls_both_threads(
    directory: Path, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    domain = DriverDomain(name="dpdk-0", pins=("2,6",), paths={0: ends[0].path})
    uri = write_driver_file(directory / "node.xml", [domain])
    with DaemonProcess(uri, tree.root, release_after_s=0.3) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        (vcpu,) = daemon.domain("dpdk-0")["vcpus"]
        assert (vcpu["controllable"], vcpu["clock_groups"]) == (True, [2, 6])
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        assert frequencies(tree, 2, 6) == [MIN, MIN]
        assert cpu_of(daemon, 2)["coordinated_cpus"] == [6]
        assert cpu_of(daemon, 2)["held_up_by"] == []
        assert ends[0].request(0, Unit.SCALE_MAX) is Answer.ACK
        assert frequencies(tree, 2, 6) == [TURBO, TURBO]
        ends[0].close()
        wait_for(lambda: governors(tree, 2, 6) == {"schedutil"}, "both are restored")


def test_the_status_names_the_thread_that_holds_a_vcpu_up(
    directory: Path, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    (tree.root / FILE.format(6, "scaling_governor")).write_text("performance\n")
    domain = DriverDomain(name="dpdk-0", pins=("2",), paths={0: ends[0].path})
    uri = write_driver_file(directory / "node.xml", [domain])
    with DaemonProcess(uri, tree.root) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        cpu = cpu_of(daemon, 2)
        assert (cpu["grant_khz"], cpu["held_up_by"]) == (MIN, [6])
        assert cpu["reason"] == "held up by CPU 6 (performance, not managed)"
