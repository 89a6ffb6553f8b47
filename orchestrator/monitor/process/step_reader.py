# SPDX-License-Identifier: Apache-2.0
"""Reads the bytes of a P-state channel: what they request, and whether some are lost.

Theory of operation: QEMU's serial device never waits. When the socket is full, it keeps
one byte (in its shift register) until there is room, and lets each further byte of the
guest replace the one before (in its holding register). So bytes are lost only while the
socket is full, and it stays full until it is read; and a read takes all of it. As many
bytes in a read as may fill the socket therefore mean that later ones may be lost. So
does the next byte, which is the one in the shift register: it is older than those that
were lost. What comes then is new.

Pure: no clock, no socket. Synchronization: the owner of the reader.

Source: QEMU's hw/char/serial.c, serial_xmit and serial_ioport_write; the kernel's
net/core/sock.c, sock_alloc_send_pskb (SO_SNDBUF limits the memory of what waits, and
each byte that was written alone costs that of a whole buffer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.monitor.arbiter import UNKNOWN_KHZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.values.p_states import PortSteps

MAX_READ_BYTES = 16_384
"""More than fit into a socket: 278 bytes with Linux's default of 208 KiB."""
MAX_BYTE_COST = 2_048
"""More memory than a byte that was written alone takes in a socket: 768 bytes with
Linux 6.1, and some more with other versions and architectures."""

_BYTES = 256


class Requests(NamedTuple):
    """What one read requested for one vCPU, or one byte for nothing that exists."""

    vcpu: int
    step: int
    """Of the last request."""
    khz: int | None
    """Of the last request; UNKNOWN_KHZ: a later one may be lost; None: no such vCPU or
    step."""
    times: int = 1
    """Requests, including those that the last one replaced."""


class StepReader:
    """Reads the bytes of one P-state channel."""

    __slots__ = ("_backlog", "_requests", "is_full", "steps")

    def __init__(self, steps: PortSteps, backlog: int) -> None:
        """Begin without a byte.

        Args:
            steps: what the bytes mean.
            backlog: number of bytes that may fill the socket.
        """
        self.steps = steps
        self._requests = [
            (Requests(*steps.port.split(byte), steps.find_khz(byte)),)
            for byte in range(_BYTES)
        ]
        self._backlog = backlog
        self.is_full = False
        """Whether the last read may have filled the socket: what was requested before
        is not known to be the latest."""

    def read(self, data: bytes) -> Sequence[Requests]:
        """Return what bytes request: all that the socket had."""
        if len(data) == 1 and not self.is_full and self._backlog > 1:
            return self._requests[data[0]]
        was_full, self.is_full = self.is_full, len(data) >= self._backlog
        found: list[Requests] = []
        latest: dict[int, Requests] = {}
        for byte in sorted(set(data), key=data.rfind):
            ((vcpu, step, khz, _),) = self._requests[byte]
            times = data.count(byte)
            if khz is None:
                found.append(Requests(vcpu, step, khz, times))
                continue
            replaced = latest.get(vcpu)
            is_old = self.is_full or (was_full and data.rfind(byte) == 0)
            latest[vcpu] = Requests(
                vcpu,
                step,
                UNKNOWN_KHZ if is_old else khz,
                times + (replaced.times if replaced else 0),
            )
        return [*found, *latest.values()]
