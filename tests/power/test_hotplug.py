# SPDX-License-Identifier: Apache-2.0
"""The kernel's notifications about CPUs, in its form; the lab receives real ones."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.power import hotplug
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


def notification(action: str, path: str) -> bytes:
    variables = (f"ACTION={action}", f"DEVPATH={path}", "SUBSYSTEM=cpu", "SEQNUM=7")
    return b"".join(f"{it}\0".encode() for it in (f"{action}@{path}", *variables))


@pytest.mark.parametrize(
    ("action", "path", "switched"),
    [
        ("online", "/devices/system/cpu/cpu3", {3}),
        ("offline", "/devices/system/cpu/cpu12", {12}),
        ("change", "/devices/system/cpu/cpu3", set()),
        ("online", "/devices/system/cpu/cpu3/cache", set()),
        ("add", "/devices/virtual/net/tap0", set()),
    ],
)
def test_only_switched_cpus_are_recognized(
    action: str, path: str, switched: set[int]
) -> None:
    data = notification(action, path)
    assert hotplug.decode_switched(data, hotplug.load_parser()) == switched


@pytest.mark.parametrize("data", [b"", b"\0", b"online@/devices/system/cpu/cpu1", b"="])
def test_other_bytes_report_nothing(data: bytes) -> None:
    assert hotplug.decode_switched(data, hotplug.load_parser()) == set()


class Receiving:
    """A socket that received some notifications, with their senders."""

    def __init__(self, *received: tuple[bytes, int] | OSError) -> None:
        self._received: Iterator[tuple[bytes, int] | OSError] = iter(received)

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        one = next(self._received, BlockingIOError())
        if isinstance(one, OSError):
            raise one
        return one[0], (one[1], 1)


def receive(*received: tuple[bytes, int] | OSError) -> object:
    sock: socket.socket = Receiving(*received)  # type: ignore[assignment]
    return hotplug.receive(sock, hotplug.load_parser())


def test_all_that_has_arrived_is_received_at_once() -> None:
    one, two = (notification("offline", f"/devices/system/cpu/cpu{n}") for n in (1, 2))
    assert receive((one, 0), (two, 0)) == {PCpu(1), PCpu(2)}


def test_another_program_s_message_is_ignored() -> None:
    assert receive((notification("offline", "/devices/system/cpu/cpu1"), 4711)) == set()


def test_lost_notifications_mean_any_cpu() -> None:
    full = OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
    assert receive(full) is None


def test_the_kernel_s_socket_is_open_to_everyone() -> None:
    with hotplug.open_socket() as sock:
        assert not sock.getblocking()
