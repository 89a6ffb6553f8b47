# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

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


def test_a_listener_is_connected_to(listener: socket.socket) -> None:
    with connect(_path(listener), US) as ours, listener.accept()[0] as theirs:
        assert not ours.getblocking()
        ours.send(b"hello")
        assert theirs.recv(9) == b"hello"


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
