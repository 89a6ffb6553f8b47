# SPDX-License-Identifier: Apache-2.0
"""The socket at which QEMU reads RAPL registers, asked as QEMU asks."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.energy.rapl import (
    CONSTANTS,
    ENERGY_STATUS,
    POWER_INFO,
    POWER_LIMIT,
    POWER_UNIT,
)
from orchestrator.performer.rapl_helper import BURST, QUESTIONS_PER_S, RaplHelper
from tests.monitor.monitor_harness import until
from tests.performer.qemu_questions import QemuQuestions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

DRAM_STATUS = 0x619
OWN = {os.getpid(): "fw"}
COUNTER = 2**40 + 5


class Host:
    """A helper in this process, and what it knows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = dict(OWN)
        self.trusted_uids = {os.geteuid()}
        self.asked: list[tuple[str, int]] = []
        self.helper = RaplHelper(
            read_energy=self._read_energy,
            find_name=self.names.get,
            trusted_uids=self.trusted_uids,
        )

    def _read_energy(self, name: str, pcpu: int) -> int:
        self.asked.append((name, pcpu))
        return COUNTER


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[Host]:
    host = Host(path)
    host.helper.update(path)
    try:
        yield host
    finally:
        host.helper.stop()


def with_host(test: Callable[[Host], Awaitable[None]]) -> Callable[[Path], None]:
    """Run a test with a helper that listens."""

    async def run(path: Path) -> None:
        async with listening(path) as host:
            await test(host)

    @wraps(test)
    def wrapped(tmp_path: Path) -> None:
        asyncio.run(run(tmp_path / "rapl.sock"))

    # pytest would look there for the test's arguments
    del wrapped.__dict__["__wrapped__"]
    return wrapped


async def read(host: Host, *registers: int, pcpu: int = 0) -> list[int | None]:
    """Return the answers over a connection of its own."""

    def ask() -> list[int | None]:
        with QemuQuestions(host.path) as qemu:
            return [qemu.read(register, pcpu) for register in registers]

    return await asyncio.to_thread(ask)


@with_host
async def test_qemu_reads_what_it_needs_to_start_and_its_domain_s_counter(
    host: Host,
) -> None:
    registers = (POWER_UNIT, POWER_LIMIT, POWER_INFO, ENERGY_STATUS, ENERGY_STATUS)
    found = await read(host, *registers, pcpu=3)
    assert found == [*CONSTANTS.values(), COUNTER, COUNTER]
    assert all(CONSTANTS.values())
    assert host.asked == [("fw", 3)] * 2


@with_host
async def test_another_process_is_not_answered(host: Host) -> None:
    host.names.clear()
    host.names[os.getpid() + 1] = "fw"
    assert await read(host, POWER_UNIT) == [None]
    assert host.asked == []


@with_host
async def test_another_user_is_not_answered(host: Host) -> None:
    host.trusted_uids.clear()
    assert await read(host, POWER_UNIT) == [None]


@with_host
async def test_another_register_ends_the_connection(host: Host) -> None:
    unit = CONSTANTS[POWER_UNIT]
    assert await read(host, POWER_UNIT, DRAM_STATUS, POWER_UNIT) == [unit, None, None]


@with_host
async def test_a_thread_of_another_process_reads_zeros(host: Host) -> None:
    def ask() -> list[int | None]:
        with QemuQuestions(host.path) as qemu:
            others = (1, 2**32 - 1)
            return [qemu.read(ENERGY_STATUS, thread=it) for it in others] + [
                qemu.read(ENERGY_STATUS)
            ]

    assert await asyncio.to_thread(ask) == [0, 0, COUNTER]


@with_host
async def test_questions_may_arrive_in_pieces_and_together(host: Host) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)  # noqa: FBT003 - a method of the library
        await loop.sock_connect(sock, str(host.path))
        own = os.getpid().to_bytes(4, "little")
        question = POWER_UNIT.to_bytes(4, "little") + bytes(4) + own
        for piece in (question[:5], question[5:] + question * 2):
            await loop.sock_sendall(sock, piece)
        data = b""
        while len(data) < 24:
            data += await loop.sock_recv(sock, 64)
    assert data == CONSTANTS[POWER_UNIT].to_bytes(8, "little") * 3


@with_host
async def test_more_questions_than_qemu_asks_have_to_wait(host: Host) -> None:
    """Main has other work: the time that many take is a minimum, whatever the load."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await read(host, *[ENERGY_STATUS] * (BURST + QUESTIONS_PER_S // 2))
    assert loop.time() - began_s >= 0.4


@with_host
async def test_a_second_connection_of_a_process_replaces_the_first(host: Host) -> None:
    def ask() -> list[int | None]:
        with QemuQuestions(host.path) as first:
            found = [first.read(POWER_UNIT)]
            with QemuQuestions(host.path) as second:
                found += [second.read(POWER_UNIT), first.receive()]
                return [*found, second.read(POWER_UNIT)]

    unit = CONSTANTS[POWER_UNIT]
    assert await asyncio.to_thread(ask) == [unit, unit, None, unit]


@with_host
async def test_the_socket_follows_the_configuration(host: Host) -> None:
    first, second = host.path, host.path.with_name("other.sock")
    qemu = QemuQuestions(first)
    with qemu:
        host.helper.update(second)
        assert await asyncio.to_thread(qemu.receive) is None
        host.path = second
        assert await read(host, POWER_UNIT) == [CONSTANTS[POWER_UNIT]]
        assert (first.exists(), second.exists()) == (False, True)
        host.helper.update(None)
        assert not second.exists()


@with_host
async def test_a_path_that_cannot_be_used_is_logged_once_and_tried_again(
    host: Host,
) -> None:
    obstacle = host.path.with_name("file")
    obstacle.touch()
    host.helper.update(obstacle)
    host.helper.update(obstacle)
    obstacle.unlink()
    host.helper.update(obstacle)
    host.path = obstacle
    assert await read(host, POWER_UNIT) == [CONSTANTS[POWER_UNIT]]


def why_not_qemu() -> str:
    """Return why QEMU cannot be its own test here; empty: it can."""
    program = shutil.which("qemu-system-x86_64")
    enabled = Path("/sys/class/powercap/intel-rapl/enabled")
    if program is None or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no KVM"
    if not enabled.exists() or enabled.read_text().strip() != "1":
        return "no Intel RAPL"
    text = subprocess.run(
        [program, "-accel", "kvm,help"], capture_output=True, text=True, check=False
    )
    return "" if "rapl" in text.stdout + text.stderr else "QEMU before 9.1"


@pytest.mark.skipif(bool(why_not_qemu()), reason=why_not_qemu() or "-")
@with_host
async def test_qemu_itself_starts_and_reads(  # pragma: no cover - see why_not_qemu
    host: Host,
) -> None:
    accel = f"kvm,rapl=on,rapl-helper-socket={host.path}"
    process = await asyncio.create_subprocess_exec(
        "qemu-system-x86_64", "-accel", accel, "-display", "none", "-nodefaults"
    )
    host.names[process.pid] = "fw"
    try:
        await until(lambda: len(host.asked) > 2, "questions of QEMU")
    finally:
        process.kill()
        await process.wait()
