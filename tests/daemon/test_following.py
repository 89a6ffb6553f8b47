# SPDX-License-Identifier: Apache-2.0
"""An emulator's CPU with a real daemon: it follows the vCPUs of its domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.control.client import ControlClient
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import DriverDomain, GuestEnd, write_driver_file
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.documents import Cpu
    from orchestrator.power.sysfs import CpuTree

MIN, MIDDLE, TURBO = 1_200_000, 2_000_000, 3_001_000
FILE = "devices/system/cpu/cpufreq/policy5/{}"
RULE = '[[domain]]\nmatch = "fw"\nemulator = "follow"\n'


def emulator_khz(tree: CpuTree) -> int | None:
    return tree.read_khz(FILE.format("scaling_setspeed"))


def wait_for_khz(tree: CpuTree, khz: int) -> None:
    wait_for(lambda: emulator_khz(tree) == khz, f"the emulator's CPU is at {khz} kHz")


def emulator_governor(tree: CpuTree) -> str:
    return tree.read(FILE.format("scaling_governor"))


def emulator_cpu(daemon: DaemonProcess) -> Cpu:
    return next(cpu for cpu in daemon.status()["cpus"] if cpu["pcpu"] == 5)


def test_the_cpu_of_an_emulator_is_as_fast_as_the_fastest_vcpu(
    directory: Path, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    domain = DriverDomain(
        name="fw", pins=("2", "3"), paths={0: ends[0].path}, emulator="5"
    )
    uri = write_driver_file(directory / "node.xml", [domain])
    with DaemonProcess(uri, tree.root, config=RULE, release_after_s=0.3) as daemon:
        daemon.wait_for_channel("fw", 0, "open")
        ends[0].accept()
        governor = emulator_governor(tree)
        assert governor != "userspace"
        for vcpu, unit, khz in (
            (0, Unit.SCALE_MIN, TURBO),  # vCPU 1 has no vote
            (1, Unit.SCALE_MIN, MIN),
            (1, Unit.SCALE_UP, MIDDLE),
            (0, Unit.SCALE_MAX, TURBO),
            (0, Unit.SCALE_MIN, MIDDLE),
        ):
            assert ends[0].request(vcpu, unit) is Answer.ACK
            wait_for_khz(tree, khz)
        cpu = emulator_cpu(daemon)
        assert (cpu["grant_khz"], cpu["claimed"]) == (MIDDLE, True)
        followed = {"domain": "fw", "threads": ["emulator"], "decides": True}
        assert cpu["follows"] == [followed]
        with ControlClient(daemon.socket) as client:
            assert client.override(5, TURBO)["override_khz"] == TURBO
            client.release(5)
        wait_for_khz(tree, MIDDLE)
        rights = daemon.domain("fw")["rights"]
        assert rights is not None
        assert rights["emulator"] == {"value": "follow", "source": "rule fw"}
        ends[0].close()
        wait_for(lambda: emulator_governor(tree) == governor, "it is restored")
