# SPDX-License-Identifier: Apache-2.0
"""The socket for QEMU's RAPL registers, of a whole daemon."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from orchestrator.energy.rapl import CONSTANTS, ENERGY_STATUS, POWER_UNIT
from tests.daemon.daemon_process import CONFIG, DaemonProcess
from tests.performer.qemu_questions import QemuQuestions
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree


def config(path: Path, *, rapl: str = "true") -> str:
    return f'[[domain]]\nmatch = "*"\nrapl = {rapl}\n[energy]\nrapl_socket = "{path}"\n'


def read(path: Path, *registers: int) -> list[int | None]:
    with QemuQuestions(path) as qemu:
        return [qemu.read(register) for register in registers]


def test_the_socket_is_there_while_it_is_configured_and_refuses_other_programs(
    uri: str, tree: CpuTree, directory: Path
) -> None:
    first, second = (directory / name for name in ("first", "second"))
    with DaemonProcess(uri, tree.root, config=config(first)) as daemon:
        wait_for(first.is_socket, "a socket")
        assert read(first, POWER_UNIT) == [None]
        rest = CONFIG.format(access="auto", resync_s=30, release_after_s=0.3)
        daemon.config.write_text(config(second) + rest, encoding="utf-8")
        daemon.signal(signal.SIGHUP)
        wait_for(second.is_socket, "another socket")
        assert not first.exists()
        assert read(second, POWER_UNIT) == [None]
        assert daemon.stop() == 0
    assert not second.exists()


def test_the_process_that_libvirt_names_reads_what_its_domain_draws(
    uri: str, tree: CpuTree, directory: Path
) -> None:
    """The test is the domain's QEMU, and draws energy by asking."""
    path = directory / "rapl.sock"
    (directory / "dpdk-0.pid").write_text(str(os.getpid()))
    with DaemonProcess(uri, tree.root, config=config(path)) as daemon:
        wait_for(path.is_socket, "a socket")
        with QemuQuestions(path) as qemu:
            assert qemu.read(POWER_UNIT) == CONSTANTS[POWER_UNIT]

            def is_above(counter: int) -> int | None:
                found = qemu.read(ENERGY_STATUS)
                assert found is not None
                return found if found > counter else None

            first = wait_for(lambda: is_above(0), "energy")
            wait_for(lambda: is_above(first), "more energy")
        energy = daemon.domain("dpdk-0")["energy"]
        assert energy is not None
        assert energy["joules_total"] > 0


def test_a_domain_without_the_setting_reads_zero(
    uri: str, tree: CpuTree, directory: Path
) -> None:
    """And its QEMU starts all the same."""
    path = directory / "rapl.sock"
    (directory / "dpdk-0.pid").write_text(str(os.getpid()))
    off = config(path, rapl="false")
    with DaemonProcess(uri, tree.root, config=off) as daemon:

        def draws() -> bool:
            energy = daemon.domain("dpdk-0")["energy"]
            return energy is not None and energy["joules_total"] > 0

        wait_for(draws, "energy")
        unit = CONSTANTS[POWER_UNIT]
        assert read(path, POWER_UNIT, ENERGY_STATUS) == [unit, 0]
