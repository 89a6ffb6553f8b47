# SPDX-License-Identifier: Apache-2.0
"""The socket for QEMU's RAPL registers, of a whole daemon."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from orchestrator.energy.rapl import CONSTANTS, ENERGY_STATUS, POWER_UNIT
from tests.daemon.daemon_process import CONFIG, DaemonProcess
from tests.performer.qemu_questions import QemuQuestions
from tests.rig.guest import GuestSpec
from tests.rig.waiting import GUEST_DEADLINE_S, wait_for

if TYPE_CHECKING:
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.libvirtd import SystemHost

PID_FILES = Path("/run/libvirt/qemu")
SPIN_S = 30


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


@pytest.mark.rig
def test_the_process_that_libvirt_names_reads_what_its_domain_draws(
    system_host: SystemHost, tree: CpuTree, directory: Path
) -> None:
    """The test puts itself in the place of QEMU, after the energy is accounted."""
    path = directory / "rapl.sock"
    guest = system_host.start(GuestSpec(name="web", channels=(), pins={0: "0"}))
    pid_file = PID_FILES / f"{guest.name}.pid"
    text = pid_file.read_text()
    try:
        guest.talker.run("say:up")
        with DaemonProcess(system_host.uri, tree.root, config=config(path)) as daemon:
            wait_for(path.is_socket, "a socket")
            assert read(path, POWER_UNIT) == [None]
            load = Thread(target=guest.talker.run, args=(f"spin:{SPIN_S * 1000}",))
            load.start()

            def draws() -> bool:
                energy = daemon.domain(guest.name)["energy"]
                return energy is not None and energy["watts"] > 0

            wait_for(draws, "power", timeout_s=GUEST_DEADLINE_S)
            pid_file.write_text(str(os.getpid()))
            with QemuQuestions(path) as qemu:
                assert qemu.read(POWER_UNIT) == CONSTANTS[POWER_UNIT]
                first = qemu.read(ENERGY_STATUS)

                def has_grown() -> bool:
                    found = qemu.read(ENERGY_STATUS)
                    assert found is not None
                    assert first is not None
                    return found > first > 0

                wait_for(has_grown, "energy", timeout_s=GUEST_DEADLINE_S)
            load.join()
    finally:
        pid_file.write_text(text)
        guest.remove()
