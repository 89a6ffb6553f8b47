# SPDX-License-Identifier: Apache-2.0
"""Metrics at the sockets of the API, and at an address of their own."""

from __future__ import annotations

import asyncio
import logging
import socket
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from orchestrator.control import CONTROL_SOCKET, METRICS_PATH, READ_ONLY_SOCKET
from orchestrator.control.listener import MAX_PER_USER
from orchestrator.control.metrics_endpoint import MetricsEndpoint
from tests.control.fake_daemon import FakeDaemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orchestrator.control.client import ControlClient

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Answer:
    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines)


async def fetch(
    place: Path | tuple[str, int],
    path: str = METRICS_PATH,
    *,
    accept: str = "",
    method: str = "GET",
) -> Answer:
    reader, writer = await (
        asyncio.open_connection(*place)
        if isinstance(place, tuple)
        else asyncio.open_unix_connection(place)
    )
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    writer.write(f"{request}Accept: {accept}\r\n\r\n".encode())
    answer = Answer(await reader.read())
    writer.close()
    return answer


def free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def listening(listen: str) -> AsyncIterator[MetricsEndpoint]:
    endpoint = MetricsEndpoint(listen, FakeDaemon().metrics)
    await endpoint.open()
    try:
        yield endpoint
    finally:
        await endpoint.stop()


@pytest.mark.parametrize("name", [CONTROL_SOCKET, READ_ONLY_SOCKET])
def test_both_sockets_of_the_api_have_metrics(run_dir: Path, name: str) -> None:
    plain = asyncio.run(fetch(run_dir / name))
    assert (plain.status, plain.body.splitlines()[-1]) == (
        200,
        b"vmpower_enforcing 1.0",
    )
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    chosen = asyncio.run(fetch(run_dir / name, accept=OPEN_METRICS))
    assert chosen.body.endswith(b"# EOF\n")
    assert chosen.headers["Content-Type"].startswith("application/openmetrics-text")


def test_openapi_describes_them(client: ControlClient) -> None:
    described = client.openapi()["paths"][METRICS_PATH]["get"]
    assert set(described["responses"]["200"]["content"]) == {
        "text/plain",
        "application/openmetrics-text",
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_they_are_served_at_an_address_and_nothing_else_is(host: str) -> None:
    port = free_port(host)
    listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def run() -> None:
        async with listening(listen) as endpoint:
            assert endpoint.problem == ""
            found = await fetch((host, port), accept=OPEN_METRICS)
            assert (found.status, found.body.endswith(b"# EOF\n")) == (200, True)
            for path in ("/v1/status", "/", "/openapi.json"):
                assert (await fetch((host, port), path)).status == 404
            assert (await fetch((host, port), method="PUT")).status == 405
        with pytest.raises(ConnectionRefusedError):
            await fetch((host, port))

    asyncio.run(run())


def test_they_are_served_at_a_socket_for_every_user(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"

    async def run() -> None:
        async with listening(str(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
            assert (await fetch(path)).status == 200
        assert not path.exists()

    asyncio.run(run())


def test_the_socket_of_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def run() -> None:
        async with listening(str(path)):
            assert (await fetch(path)).status == 200

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["a socket in use", "a file", "no directory"])
def test_a_path_that_cannot_be_used_is_a_problem_and_is_left(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "metrics.sock"

    async def run() -> str:
        async with listening(str(path)) as endpoint:
            return endpoint.problem

    with socket.socket(socket.AF_UNIX) as other:
        if kind == "a socket in use":
            other.bind(str(path))
            other.listen(0)
        elif kind == "a file":
            path.write_text("kept")
        else:
            path = path / "below"
        assert asyncio.run(run()).startswith("metrics: ")
        assert kind == "no directory" or path.exists()


def test_a_directory_that_other_users_can_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    async def run() -> str:
        async with listening(str(tmp_path / "metrics.sock")) as endpoint:
            return endpoint.problem

    assert "cannot listen at" in asyncio.run(run())


def test_a_port_in_use_is_reported_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            endpoint = MetricsEndpoint(f"127.0.0.1:{port}", FakeDaemon().metrics)
            await endpoint.open()
            await endpoint.open()
            expected = f"metrics: cannot listen at 127.0.0.1:{port}: Address already"
            assert endpoint.problem.startswith(expected)
        await endpoint.open()
        assert endpoint.problem == ""
        assert (await fetch(("127.0.0.1", port))).status == 200
        await endpoint.open()  # it listens already
        await endpoint.stop()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    errors = [it for it in caplog.records if it.levelno == logging.ERROR]
    assert len(errors) == 1


def test_a_client_beyond_the_limit_is_disconnected() -> None:
    port = free_port("127.0.0.1")

    async def run() -> int:
        async with listening(f"127.0.0.1:{port}"):
            held = [
                await asyncio.open_connection("127.0.0.1", port)
                for _ in range(MAX_PER_USER + 1)
            ]
            refused, _ = held[-1]
            try:
                end = await refused.read()
            except ConnectionError:
                end = b""
            for _, writer in held:
                writer.close()
            return len(end)

    assert asyncio.run(run()) == 0
