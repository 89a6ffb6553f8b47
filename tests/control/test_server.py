# SPDX-License-Identifier: Apache-2.0
"""Start and stop of the control server, and clients that misbehave."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.control import CONTROL_SOCKET, READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from orchestrator.control.listener import (
    MAX_CONNECTIONS,
    MAX_PER_USER,
)
from orchestrator.control.server import LOCK, ControlServer
from orchestrator.control.streams import MAX_PER_USER as MAX_STREAMS_PER_USER
from orchestrator.control.streams import MAX_STREAMS
from orchestrator.errors import ControlError
from tests.control.fake_daemon import FakeDaemon, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from orchestrator.control.models import Cpu
    from orchestrator.control.service import Peer
    from orchestrator.values.domain import PCpu

FOLLOW = b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n"
DEADLINE_S = 10.0


@asynccontextmanager
async def running(
    run_dir: Path, daemon: FakeDaemon | None = None
) -> AsyncIterator[ControlServer]:
    server = ControlServer(daemon or FakeDaemon(), run_dir)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def connect(
    run_dir: Path, request: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(run_dir / READ_ONLY_SOCKET))
    writer.write(request)
    await writer.drain()
    return reader, writer


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        return


def test_the_sockets_have_their_modes(tmp_path: Path) -> None:
    with serving(tmp_path):
        modes = {
            name: stat.S_IMODE((tmp_path / name).stat().st_mode)
            for name in (CONTROL_SOCKET, READ_ONLY_SOCKET)
        }
    assert modes == {CONTROL_SOCKET: 0o660, READ_ONLY_SOCKET: 0o666}


def test_the_sockets_are_gone_after_the_stop(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_socket_or_lock_that_cannot_be_removed_does_not_fail_the_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = (CONTROL_SOCKET, LOCK)
    with serving(tmp_path):
        for name in names:
            (tmp_path / name).unlink()
            (tmp_path / name).mkdir()  # unlink refuses it
    assert {path.name for path in tmp_path.iterdir()} == {*names}
    for name in names:
        assert f"cannot remove {tmp_path / name}: Is a directory" in caplog.text


def test_the_control_socket_belongs_to_the_given_group(
    tmp_path: Path,
) -> None:
    async def start() -> int:
        server = ControlServer(FakeDaemon(), tmp_path, group_id=os.getgid())
        await server.start()
        group = (tmp_path / CONTROL_SOCKET).stat().st_gid
        await server.stop()
        return group

    assert asyncio.run(start()) == os.getgid()


GROUP_WITHOUT_CHOWN = """
import os, sys
from pathlib import Path
from orchestrator.control.listening_socket import UnixSocket

path = Path(sys.argv[1])
UnixSocket(path, 0o660, group_id=12_345, fix="").open()
print(path.stat().st_gid)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have any group")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_its_group_takes_no_right_to_change_owners(tmp_path: Path) -> None:
    without = ("setpriv", "--bounding-set=-chown", "--inh-caps=-chown")
    done = subprocess.run(
        [*without, sys.executable, "-c", GROUP_WITHOUT_CHOWN, str(tmp_path / "sock")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["12345"], done.stderr


def test_a_missing_run_directory_is_created(tmp_path: Path) -> None:
    with serving(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / CONTROL_SOCKET).is_socket()


def test_the_socket_of_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / CONTROL_SOCKET))
    with serving(tmp_path) as daemon:
        assert daemon.picture().daemon.pid == 4711


def test_a_second_daemon_in_the_same_directory_fails(tmp_path: Path) -> None:
    async def second() -> None:
        await ControlServer(FakeDaemon(), tmp_path).start()

    with serving(tmp_path):
        with pytest.raises(ControlError, match="another vmpowerd") as caught:
            asyncio.run(second())
        assert caught.value.status == 409
        assert (tmp_path / CONTROL_SOCKET).is_socket()


def test_a_run_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o1777)

    async def start() -> None:
        await ControlServer(FakeDaemon(), tmp_path / "run").start()

    with pytest.raises(ControlError, match="can be changed by other users") as caught:
        asyncio.run(start())
    assert caught.value.hint == "use a directory that only its owner can change"
    assert list((tmp_path / "run").iterdir()) == []


def test_a_file_with_the_name_of_a_socket_is_kept(tmp_path: Path) -> None:
    (tmp_path / READ_ONLY_SOCKET).write_text("mine")

    async def start() -> None:
        await ControlServer(FakeDaemon(), tmp_path).start()

    with pytest.raises(ControlError, match="is not a socket"):
        asyncio.run(start())
    assert (tmp_path / READ_ONLY_SOCKET).read_text() == "mine"
    assert not (tmp_path / CONTROL_SOCKET).exists()


def test_a_path_that_is_too_long_for_a_socket_is_an_error(tmp_path: Path) -> None:
    async def start() -> None:
        await ControlServer(FakeDaemon(), tmp_path / ("d" * 120)).start()

    with pytest.raises(ControlError, match="longer than 107 bytes"):
        asyncio.run(start())


def test_a_followers_stream_ends_cleanly_when_the_daemon_stops(
    tmp_path: Path,
) -> None:
    async def follow() -> bytes:
        async with running(tmp_path) as server:
            reader, writer = await connect(tmp_path, FOLLOW)
            await reader.readuntil(b"channel 0 is open")
            await server.stop()
            rest = await reader.read()
            await close(writer)
            return rest

    assert asyncio.run(follow()).endswith(b"\r\n0\r\n\r\n")


async def settle(turns: int) -> None:
    """Run that many turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def flood(daemon: FakeDaemon, events: int, size_bytes: int) -> None:
    """Publish more events than the kernel buffers, until no more are sent."""
    for _ in range(events):
        daemon.report("flood", "x" * size_bytes)
    await settle(2_000)


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_client_that_never_reads_does_not_delay_the_stop(tmp_path: Path) -> None:
    async def never_read() -> tuple[int, int]:
        daemon = FakeDaemon()
        before = count_descriptors()
        async with running(tmp_path, daemon) as server:
            _, writer = await connect(tmp_path, FOLLOW)
            writer.transport.pause_reading()  # type: ignore[attr-defined] # duplex
            await flood(daemon, 20, 65_536)
            async with asyncio.timeout(DEADLINE_S):
                await server.stop()
            await asyncio.sleep(0)  # the loop closes what was aborted
            left = count_descriptors() - before
            writer.transport.abort()
            await asyncio.sleep(0)
            return left, count_descriptors() - before

    assert asyncio.run(never_read()) == (1, 0)


def test_a_slow_reader_gets_all_of_its_stream_when_the_daemon_stops(
    tmp_path: Path,
) -> None:
    async def read_late() -> bytes:
        daemon = FakeDaemon()
        async with running(tmp_path, daemon) as server:
            reader, writer = await connect(tmp_path, FOLLOW)
            writer.transport.pause_reading()  # type: ignore[attr-defined] # duplex
            # 50 KB more than the kernel buffers; by default asyncio would buffer them.
            await flood(daemon, 150, 1_024)
            stopping = asyncio.ensure_future(server.stop())
            await settle(100)  # far within the time that stop() allows
            writer.transport.resume_reading()  # type: ignore[attr-defined] # duplex
            rest = await reader.read()
            await stopping
            await close(writer)
            return rest

    assert asyncio.run(read_late()).endswith(b"\r\n0\r\n\r\n")


def test_a_client_that_disconnects_frees_its_stream(tmp_path: Path) -> None:
    """More streams than allowed at once, one after another."""

    async def come_and_go() -> None:
        async with running(tmp_path), asyncio.timeout(DEADLINE_S):
            for _ in range(3 * MAX_STREAMS):
                reader, writer = await connect(tmp_path, FOLLOW)
                status = await reader.readline()
                while b" 503 " in status:  # the previous stream has not ended yet
                    await close(writer)
                    reader, writer = await connect(tmp_path, FOLLOW)
                    status = await reader.readline()
                assert b" 200 " in status
                await reader.readuntil(b"channel 0 is open")
                await close(writer)

    asyncio.run(come_and_go())


def test_a_stream_above_the_limit_is_rejected(tmp_path: Path) -> None:
    async def crowd() -> list[bytes]:
        async with running(tmp_path):
            opened = [await connect(tmp_path, FOLLOW) for _ in range(MAX_STREAMS + 1)]
            statuses = [await reader.readline() for reader, _ in opened]
            for _, writer in opened:
                await close(writer)
            return statuses

    statuses = asyncio.run(crowd())
    assert [b" 200 " in status for status in statuses].count(False) == 1
    assert statuses.count(b"HTTP/1.1 503 Service Unavailable\r\n") == 1


def test_connections_above_the_limit_are_closed_and_the_first_ones_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = b"GET /v1/cpus/2 HTTP/1.1\r\nHost: x\r\n\r\n"

    async def ask() -> tuple[bytes, asyncio.StreamWriter]:
        path = str(tmp_path / READ_ONLY_SOCKET)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request)
        try:
            return await reader.readline(), writer
        except ConnectionError:
            return b"", writer

    async def crowd() -> list[bytes]:
        async with running(tmp_path):
            got = [await ask() for _ in range(MAX_CONNECTIONS + 5)]
            for _, writer in got:
                await close(writer)
            return [line for line, _ in got]

    lines = asyncio.run(crowd())
    assert [bool(line) for line in lines] == [True] * MAX_CONNECTIONS + [False] * 5
    rejections = [line for line in caplog.messages if "too many" in line]
    assert len(rejections) == 1  # not one line for each


CPU, FOLLOW_TARGET = "/v1/cpus/2", "/v1/events?follow=true"
CROWD = """
import socket, sys
path, size, target = sys.argv[1:]
socks = []
for _ in range(int(size)):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    try:
        sock.sendall(f"GET {target} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
    except BrokenPipeError:  # rejected before it has sent anything
        continue
    socks.append(sock)
def is_answered(sock):
    try:
        return sock.recv(12) == b"HTTP/1.1 200"
    except ConnectionError:
        return False
print(sum(map(is_answered, socks)), flush=True)
sys.stdin.read()
"""


@contextmanager
def crowd(path: Path, uid: int, size: int, target: str = CPU) -> Iterator[int]:
    """Connect a user that many times; yield how many requests were answered 200."""
    command = [str(Path(sys.executable).resolve()), "-I", "-c", CROWD]
    with subprocess.Popen(
        [*command, str(path), str(size), target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=uid,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can be another user"
)


@needs_root
def test_one_user_cannot_lock_the_others_out(public_dir: Path) -> None:
    path = public_dir / READ_ONLY_SOCKET
    with (
        serving(public_dir),
        crowd(path, 65_534, 80) as answered,
        ControlClient(path) as reader,
    ):
        assert answered == MAX_PER_USER
        assert reader.status()["daemon"]["pid"] == 4711


@needs_root
def test_several_users_cannot_lock_another_one_out(public_dir: Path) -> None:
    path = public_dir / READ_ONLY_SOCKET
    with serving(public_dir), ExitStack() as crowds:
        for uid in (61_001, 61_002, 61_003):
            answered = crowds.enter_context(crowd(path, uid, MAX_PER_USER))
            assert answered == MAX_PER_USER
        assert crowds.enter_context(crowd(path, 61_004, 20)) == 12


@needs_root
def test_one_user_cannot_take_all_streams(public_dir: Path) -> None:
    path = public_dir / READ_ONLY_SOCKET
    with (
        serving(public_dir),
        crowd(path, 65_534, MAX_PER_USER, FOLLOW_TARGET) as answered,
        ControlClient(path) as reader,
    ):
        assert answered == MAX_STREAMS_PER_USER
        assert next(reader.events(follow=True))["text"] == "dpdk-fw is running"


class SlowDaemon(FakeDaemon):
    """Sets a frequency only once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def override(self, pcpu: PCpu, khz: int, *, who: Peer) -> Cpu:
        self.begun.set()
        await self.may_end.wait()
        return await super().override(pcpu, khz, who=who)


def test_a_change_finishes_although_the_client_disconnected(
    tmp_path: Path,
) -> None:
    body = b'{"khz": 2000000}'
    request = (
        b"PUT /v1/cpus/2/clock HTTP/1.1\r\nHost: x\r\n"
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )

    async def hang_up() -> int | None:
        daemon = SlowDaemon()
        async with running(tmp_path, daemon) as server, asyncio.timeout(DEADLINE_S):
            path = str(tmp_path / CONTROL_SOCKET)
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(request)
            await daemon.begun.wait()
            await close(writer)
            while server._control.connections:
                await asyncio.sleep(0)
            daemon.may_end.set()
        return daemon.cpus[2].override_khz

    assert asyncio.run(hang_up()) == 2_200_000
