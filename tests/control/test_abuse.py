# SPDX-License-Identifier: Apache-2.0
"""Clients that send anything, too much, or never the rest."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from orchestrator.control import BODY_LIMIT_BYTES, CONTROL_SOCKET, READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from orchestrator.control.deadlines import Deadlines
from orchestrator.control.server import ControlServer
from tests.control.fake_daemon import FakeDaemon, serving

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 20.0
IMPATIENT = Deadlines(request_s=0.05, body_s=0.05, delivery_s=0.05)
PUT = b"PUT /v1/cpus/2/clock HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /v1/cpus/2 HTTP/1.1\r\nHost: x\r\n"


async def exchange(path: Path, data: bytes) -> bytes:
    """Send bytes and read until the daemon closes the connection."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(data)
        async with asyncio.timeout(DEADLINE_S):
            return await reader.read()
    finally:
        writer.transport.abort()


def ask(path: Path, data: bytes) -> tuple[int, dict[str, str]]:
    """Send one request; return the status and the error of the answer."""
    data = data.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n", 1)
    answer = asyncio.run(exchange(path, data))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body).get("error")


def with_body(head: bytes, body: bytes, encoding: str) -> bytes:
    lines = f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head + lines.encode() + body


def bomb(size_bytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    packed = b"".join(packer.compress(zeros) for _ in range(size_bytes >> 20))
    return packed + packer.flush()


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x, y", "\xa0"])
@pytest.mark.parametrize("head", [PUT, GET], ids=["PUT", "GET"])
def test_an_encoded_body_is_rejected_unread(
    tmp_path: Path, head: bytes, encoding: str
) -> None:
    body = b'{"khz": 2000000}'
    status, error = ask(tmp_path / CONTROL_SOCKET, with_body(head, body, encoding))
    assert (status, error["hint"]) == (415, "send the body as plain JSON")
    assert "unsupported Content-Encoding" in error["message"]


@pytest.mark.usefixtures("daemon")
def test_a_body_that_is_declared_as_not_encoded_is_accepted(tmp_path: Path) -> None:
    body = b'{"khz": 2000000}'
    status, _ = ask(tmp_path / CONTROL_SOCKET, with_body(PUT, body, "Identity"))
    assert status == 200


@pytest.mark.usefixtures("daemon")
def test_a_bomb_is_rejected_by_its_header(tmp_path: Path) -> None:
    request = with_body(GET, bomb(64 << 20), "gzip")
    status, _ = ask(tmp_path / READ_ONLY_SOCKET, request)
    assert status == 415


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("size", [BODY_LIMIT_BYTES + 1, 1 << 20, 64 << 20])
@pytest.mark.parametrize("head", [PUT, GET], ids=["PUT", "GET"])
def test_a_body_that_is_not_used_is_not_read_without_bound(
    tmp_path: Path, head: bytes, size: int
) -> None:
    sent = 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(tmp_path / CONTROL_SOCKET))
        sock.sendall(head + f"Content-Length: {size}\r\n\r\n".encode())
        with suppress(ConnectionError):
            while sent < size:
                sent += sock.send(bytes(min(65_536, size - sent)))
        status = sock.recv(100).split()[1]
    assert status == (b"413" if head == PUT else b"200")
    assert sent <= 4 << 20


@pytest.mark.usefixtures("daemon")
def test_a_client_reads_why_its_body_was_rejected(tmp_path: Path) -> None:
    """Most clients read the answer only after they have sent all."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(tmp_path / CONTROL_SOCKET))
    try:
        connection.request("PUT", "/v1/cpus/2/clock", body=bytes(15 * BODY_LIMIT_BYTES))
        assert connection.getresponse().status == 413
    finally:
        connection.close()


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /v1/status\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET http://[::/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        PUT + b"Content-Length: x\r\n\r\n",
        PUT + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        PUT + b"Transfer-Encoding: gzip\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\n\r\nnot a size\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\nnot a size\r\n",
    ],
)
def test_malformed_requests_are_one_line_in_the_log_and_no_traceback(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def send() -> list[bytes]:
        path = tmp_path / CONTROL_SOCKET
        return [await exchange(path, data) for _ in range(30)]

    for answer in asyncio.run(send()):
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head:  # the body of a GET does not matter
            assert head.split()[1] == b"400"
            assert list(json.loads(body)) == ["error"]
    assert len(caplog.records) <= 1
    assert not any(record.exc_info for record in caplog.records)
    assert all(len(message) < 500 for message in caplog.messages)


@pytest.mark.usefixtures("daemon")
def test_a_method_that_a_path_does_not_have_is_answered_with_those_it_has(
    tmp_path: Path,
) -> None:
    request = b"DELETE /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = asyncio.run(exchange(tmp_path / CONTROL_SOCKET, request))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET\r\n" in answer


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", b""),
        (b"GET /v1/cpus/2 HT", b""),
        (GET, b""),
        (GET + b"\r\n", b"HTTP/1.1 200 "),
        (PUT + b'Content-Length: 9\r\n\r\n{"k', b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "half a line", "half a header", "idle", "half a body"],
)
def test_a_connection_whose_request_does_not_end_is_closed(
    tmp_path: Path, data: bytes, answer: bytes
) -> None:
    async def wait() -> bytes:
        server = ControlServer(FakeDaemon(), tmp_path, deadlines=IMPATIENT)
        await server.start()
        got = await exchange(tmp_path / CONTROL_SOCKET, data)
        await server.stop()
        return got

    got = asyncio.run(wait())
    assert got.startswith(answer)
    assert bool(got) is bool(answer)


def test_a_client_whose_idle_connection_was_closed_connects_again(
    tmp_path: Path,
) -> None:
    with (
        serving(tmp_path, deadlines=IMPATIENT),
        ControlClient(tmp_path / READ_ONLY_SOCKET) as client,
    ):
        assert client.cpu(2)["pcpu"] == 2
        first = client._connection.sock
        assert first is not None
        assert first.recv(1, socket.MSG_PEEK) == b""  # the daemon has closed it
        assert client.cpu(2)["pcpu"] == 2
        assert client._connection.sock is not first


def test_requests_that_are_sent_ahead_do_not_pile_up(tmp_path: Path) -> None:
    """A client that follows the events and sends requests behind that one."""
    follow = b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n"

    async def send_ahead() -> int:
        server = ControlServer(FakeDaemon(), tmp_path)
        await server.start()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(0)
            sock.connect(str(tmp_path / READ_ONLY_SOCKET))
            sock.send(follow)
            sent = turns = 0
            while turns < 2_000 and sent < 64 << 20:
                try:
                    sent += sock.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
                    turns = 0
                except BlockingIOError:
                    turns += 1
                except ConnectionError:  # disconnected by the daemon
                    break
                await asyncio.sleep(0)
        await server.stop()
        return sent

    assert asyncio.run(send_ahead()) < 4 << 20
