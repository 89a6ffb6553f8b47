# SPDX-License-Identifier: Apache-2.0
"""The kernel's notifications that a CPU went online or offline.

Source: man 7 netlink (NETLINK_KOBJECT_UEVENT), drivers/base/core.c of the kernel.
"""

from __future__ import annotations

import re
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any

from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Parse = Callable[[bytes], Iterable[Any]]

_NETLINK_KOBJECT_UEVENT = 15
_FROM_KERNEL = 1
"""Multicast group of the kernel's own notifications; udev sends to another one."""
_CPU = re.compile(r"/devices/system/cpu/cpu([0-9]{1,5})")
_CPU_BYTES = b"/devices/system/cpu/cpu"
_LARGEST = 8_192
"""The kernel's notifications have at most 2 KiB of variables and a path."""
_BUFFER_BYTES = 1 << 20


def open_socket() -> socket.socket:
    """Open a non-blocking socket that receives the kernel's notifications.

    Raises:
        OSError: the kernel refused it.
    """
    family, kind = socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK
    sock = socket.socket(family, kind, _NETLINK_KOBJECT_UEVENT)
    try:
        # All devices of the host are notified: a storm must not lose a CPU's.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        sock.bind((0, _FROM_KERNEL))
    except OSError:
        sock.close()
        raise
    return sock


def load_parser() -> Parse:
    """Import the parser, which takes 60 ms.

    Raises:
        ImportError: pyroute2 is not installed.
    """
    parse: Parse = import_module("pyroute2.netlink.uevent").MarshalUevent().parse
    return parse


def receive(sock: socket.socket, parse: Parse) -> frozenset[PCpu] | None:
    """Receive what has arrived.

    Returns:
        The CPUs that went online or offline; None: notifications were lost, so it may
        be any of them.
    """
    pcpus: set[PCpu] = set()
    while True:
        try:
            data, (sender, _) = sock.recvfrom(_LARGEST)
        except BlockingIOError:
            return frozenset(pcpus)
        except OSError:  # ENOBUFS: the buffer was full
            return None
        if sender == 0 and _CPU_BYTES in data:
            pcpus |= decode_switched(data, parse)


def decode_switched(data: bytes, parse: Parse) -> set[PCpu]:
    """Return the CPUs that a notification reports to be online or offline now."""
    return {
        PCpu(int(match[1]))
        for message in parse(data)
        if message.get("ACTION") in {"online", "offline"}
        if (match := _CPU.fullmatch(message.get("DEVPATH", "")))
    }
