# SPDX-License-Identifier: Apache-2.0
"""QEMU's serial device at the guest's end of a P-state channel.

It transmits as the real one does without a FIFO, which Linux's cpufreq driver never
enables: a byte that the socket does not take waits in the shift register; meanwhile
each further byte replaces the one in the holding register, and none waits.

Source: QEMU's hw/char/serial.c, serial_xmit and serial_ioport_write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


class SerialDevice:
    """A serial device whose transmitter is connected to a socket.

    Synchronization: one thread.
    """

    def __init__(self, peer: socket.socket) -> None:
        peer.settimeout(0)
        self._peer = peer
        self._shift: int | None = None
        self._holding: int | None = None
        self.lost = 0
        """Bytes that another one has replaced."""

    def write(self, *data: int) -> None:
        """Write to the port, as the guest does; it never waits."""
        for byte in data:
            if self._shift is not None:
                self.lost += self._holding is not None
                self._holding = byte
            elif not self._transmit(byte):
                self._shift = byte

    def pump(self) -> bool:
        """Transmit what waits, as QEMU does when there is room again.

        Returns:
            Whether a byte was transmitted.
        """
        if self._shift is None or not self._transmit(self._shift):
            return False
        self._shift, self._holding = self._holding, None
        self.pump()
        return True

    def _transmit(self, byte: int) -> bool:
        try:
            return self._peer.send(bytes([byte])) == 1
        except BlockingIOError:
            return False
