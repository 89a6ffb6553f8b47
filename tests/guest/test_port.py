# SPDX-License-Identifier: Apache-2.0
"""Opening, reading and writing virtio-serial ports."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import HostAbsent, PortAbsent, PortRefused
from orchestrator.guest.port import (
    PORT_NAME,
    Port,
    _translate,
    list_ports,
    open_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ends() -> Iterator[tuple[Port, socket.socket]]:
    ours, theirs = socket.socketpair()
    port = Port(ours.detach(), "the port")
    with theirs:
        yield port, theirs
    port.close()


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """Device files and sysfs: ports of vCPUs 0 and 12, and of another agent."""
    names = {"vport1p1": f"{PORT_NAME}12", "vport1p2": "org.qemu.guest_agent.0"}
    for device, name in names.items():
        (tmp_path / "class" / device).mkdir(parents=True)
        (tmp_path / "class" / device / "name").write_text(f"{name}\n")
        (tmp_path / device).write_bytes(b"")
    (tmp_path / "virtio-ports").mkdir()
    (tmp_path / "vport1p3").write_bytes(b"")
    (tmp_path / "virtio-ports" / f"{PORT_NAME}0").symlink_to("../vport1p3")
    return tmp_path


def test_ports_are_found_by_udev_links_and_in_sysfs(
    guest: Path,
) -> None:
    assert list_ports(devices=guest, port_class=guest / "class") == (0, 12)
    for vcpu in (0, 12):
        port = open_port(vcpu, devices=guest, port_class=guest / "class")
        assert port.name == f"{PORT_NAME}{vcpu}"
        port.close()


def test_a_missing_port_is_an_error_with_a_hint(guest: Path) -> None:
    with pytest.raises(PortAbsent, match=rf"{PORT_NAME}3$") as caught:
        open_port(3, devices=guest, port_class=guest / "class")
    assert "vmpower domain onboard" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "kind", "word"),
    [
        (errno.EBUSY, PortRefused, "another program"),
        (errno.EMFILE, PortRefused, "another program"),
        (errno.EACCES, PortRefused, "permission denied"),
        (errno.ENXIO, PortAbsent, "ENXIO"),
    ],
)
def test_errors_of_the_kernel_are_explained(
    tmp_path: Path, number: int, kind: type[Exception], word: str
) -> None:
    error = _translate(OSError(number, os.strerror(number)), "the port", tmp_path)
    assert isinstance(error, kind)
    assert word in str(error)
    assert error.hint


def test_a_read_returns_the_pending_bytes_or_none(
    ends: tuple[Port, socket.socket],
) -> None:
    port, host = ends
    assert port.read() is None
    assert not port.wait(0)
    host.sendall(b"abc")
    assert port.wait(20)
    assert port.read() == b"abc"


def test_a_host_that_closes_its_end_is_detected(
    ends: tuple[Port, socket.socket],
) -> None:
    port, host = ends
    assert port.has_host()
    host.close()
    assert not port.has_host()
    assert port.wait(20)
    assert port.read() == b""
    with pytest.raises(HostAbsent, match="no host is connected to the port"):
        port.write(b"abc")


def test_a_host_that_does_not_read_is_unreachable(
    ends: tuple[Port, socket.socket],
) -> None:
    port, _host = ends
    with pytest.raises(HostAbsent, match="does not read"):
        _write_until_it_fails(port)


def _write_until_it_fails(port: Port) -> None:
    while True:
        port.write(bytes(100_000))


def test_a_port_is_closed_once(ends: tuple[Port, socket.socket]) -> None:
    port, host = ends
    port.close()
    port.close()
    assert port.fileno() == -1
    assert host.recv(1) == b""
