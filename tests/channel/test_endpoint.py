# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.acceptance import is_accepted
from orchestrator.channel.endpoint import connect
from orchestrator.errors import EndpointAbsent, EndpointContended, EndpointRefused
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

US = {os.geteuid()}


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen(1)
        yield sock


def _path(listener: socket.socket) -> str:
    return str(listener.getsockname())


def _accept_one(
    listener: socket.socket,
) -> tuple[threading.Thread, list[socket.socket]]:
    accepted: list[socket.socket] = []
    thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
    thread.start()
    return thread, accepted


def test_a_listener_that_accepts_is_connected_to(listener: socket.socket) -> None:
    thread, accepted = _accept_one(listener)
    with connect(_path(listener), US) as ours:
        thread.join()
        with accepted[0] as theirs:
            assert not ours.getblocking()
            ours.send(b"hello")
            assert theirs.recv(9) == b"hello"


def test_a_listener_that_serves_another_is_contended(listener: socket.socket) -> None:
    thread, accepted = _accept_one(listener)
    with connect(_path(listener), US):
        thread.join()
        with accepted[0], pytest.raises(EndpointContended) as caught:
            connect(_path(listener), US, accept_timeout_s=0.02)
    assert "vm_power_manager" in caught.value.hint


@pytest.mark.parametrize("is_ours", [True, False])
def test_only_the_domain_s_own_qemu_may_accept(
    listener: socket.socket, *, is_ours: bool
) -> None:
    thread, accepted = _accept_one(listener)
    with subprocess.Popen(["sleep", "60"]) as other:
        pid = os.getpid() if is_ours else other.pid
        expected = nullcontext() if is_ours else pytest.raises(EndpointContended)
        try:
            with expected as caught:
                connect(_path(listener), US, qemu_pid=pid).close()
        finally:
            other.kill()
            thread.join()
            accepted[0].close()
    if caught is not None:
        assert f"than the domain's QEMU (pid {pid})" in str(caught.value)


def test_a_process_that_has_ended_is_not_checked(listener: socket.socket) -> None:
    thread, accepted = _accept_one(listener)
    with subprocess.Popen(["true"]) as ended:
        pass
    connect(_path(listener), US, qemu_pid=ended.pid).close()
    thread.join()
    accepted[0].close()


def test_a_full_backlog_is_contended(listener: socket.socket) -> None:
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for sock in waiting:
        sock.connect(_path(listener))
    with pytest.raises(EndpointContended):
        connect(_path(listener), US)
    for sock in waiting:
        sock.close()


def test_a_missing_path_is_absent(tmp_path: Path) -> None:
    with pytest.raises(EndpointAbsent):
        connect(str(tmp_path / "nothing"), US)


def test_a_socket_without_a_listener_is_absent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
    with pytest.raises(EndpointAbsent):
        connect(str(tmp_path / "s"), US)


def test_an_untrusted_listener_is_refused_and_named(
    listener: socket.socket,
) -> None:
    with pytest.raises(EndpointRefused, match=f"user {os.geteuid()} ") as caught:
        connect(_path(listener), {os.geteuid() + 1})
    assert "trusted_uids" in caught.value.hint


def test_a_path_of_maximum_length_is_accepted(tmp_path: Path) -> None:
    path = f"{tmp_path}/".ljust(MAX_SOCKET_PATH_BYTES, "x")
    with pytest.raises(EndpointAbsent):
        connect(path, US)


@pytest.mark.parametrize(
    "path",
    ["/" + "x" * MAX_SOCKET_PATH_BYTES, "/tmp/ü" + "x" * 101, "relative", "", "/a\0b"],
)
def test_an_invalid_path_is_refused(path: str) -> None:
    with pytest.raises(EndpointRefused):
        connect(path, US)


def test_an_error_of_the_kernel_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(EndpointRefused, match="ELOOP"):
        connect(str(tmp_path / "loop"), US)


def test_a_socket_of_another_type_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        with pytest.raises(EndpointRefused, match="EPROTOTYPE"):
            connect(str(tmp_path / "s"), US)


def test_the_kernel_shows_whether_a_connection_was_accepted(
    listener: socket.socket,
) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(_path(listener))
        assert is_accepted(sock) is False
        with listener.accept()[0]:
            assert is_accepted(sock) is True
