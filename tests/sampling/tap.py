# SPDX-License-Identifier: Apache-2.0
"""A real tap, in a network namespace of its own: which counter is the guest's?

``python3 -m tests.sampling.tap`` sends three packets towards the guest's end and prints
what the guest has received before and after, as the daemon counts it. Run it as root
under ``unshare --net --mount`` with /sys mounted again.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path

from orchestrator.sampling.interfaces import InterfaceCounters
from orchestrator.values.domain import InterfaceKind, InterfaceSpec

_TUNSETIFF, _SIOCSIFFLAGS = 0x400454CA, 0x8914
_IFF_UP, _IFF_TAP, _IFF_NO_PI = 1, 2, 0x1000
_REQUEST = struct.Struct("16sH22x")
FRAME = bytes(12) + b"\x88\xb5" + bytes(46)


def no_function(pci: str) -> int:
    raise AssertionError(f"{pci} was asked for")


def read_received(device: str) -> int:
    mac = "52:54:00:12:34:56"
    spec = InterfaceSpec(mac=mac, kind=InterfaceKind.TAP, device=device)
    return InterfaceCounters(Path("/sys"), no_function).read([spec])[mac]


def main() -> None:
    guest = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(guest, _TUNSETIFF, _REQUEST.pack(b"vnet0", _IFF_TAP | _IFF_NO_PI))
    Path("/proc/sys/net/ipv6/conf/vnet0/disable_ipv6").write_text("1")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as host:
        fcntl.ioctl(host, _SIOCSIFFLAGS, _REQUEST.pack(b"vnet0", _IFF_UP))
        host.bind(("vnet0", 0))
        before = read_received("vnet0")
        for _ in range(3):
            host.send(FRAME)
            os.read(guest, 2048)
        # What the guest sends is another counter's.
        os.write(guest, FRAME)
        print(before, read_received("vnet0"))  # noqa: T201 - the test reads it
    os.close(guest)


if __name__ == "__main__":
    main()
