# SPDX-License-Identifier: Apache-2.0
"""A minimal host: it connects to channels and acknowledges everything.

An ACK is the request itself, so that to a guest an echo is a host that grants every
request. Only CONNECT is not answered, as by any host.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from tests.rig.waiting import connect, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

PACKET_BYTES = 464
_CONNECT = 2


class Packet(NamedTuple):
    """A guest's packet, of which only three fields are decoded."""

    core: int
    unit: int
    command: int
    data: bytes

    @classmethod
    def parse(cls, data: bytes) -> Packet:
        """Decode the first fields of a packet."""
        core, unit, command = (
            int.from_bytes(data[start:end], "little")
            for start, end in ((0, 8), (8, 12), (12, 16))
        )
        return cls(core, unit, command, data)


class EchoHost:
    """Connections to the sockets of channels, and a thread that answers.

    Synchronization: ``packets`` may be read by any thread.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.packets: list[Packet] = []
        """All received packets, in order."""
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[socket.socket, bytearray] = {}
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        for path in paths:
            self._connect(path)
        self._thread = threading.Thread(target=self._run, name="echo-host")
        self._thread.start()

    @property
    def units(self) -> list[int]:
        """The units of the requests so far, without CONNECT."""
        return [packet.unit for packet in self.packets if packet.command != _CONNECT]

    def wait_for_packets(self, count: int) -> list[Packet]:
        """Wait for a number of packets.

        Raises:
            TimeoutError: fewer have arrived.
        """
        wait_for(lambda: len(self.packets) >= count, f"{count} packets")
        return self.packets

    def close(self) -> None:
        """Hang up."""
        self._stop.close()
        self._thread.join()
        self._stopped.close()
        for connection in self._buffers:
            connection.close()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _connect(self, path: str) -> None:
        connection = connect(Path(path))
        self._selector.register(connection, selectors.EVENT_READ)
        self._buffers[connection] = bytearray()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                self._serve(key.fileobj)  # type: ignore[arg-type] # all are sockets

    def _serve(self, connection: socket.socket) -> None:
        data = connection.recv(65536)
        if not data:
            self._selector.unregister(connection)
            return
        buffer = self._buffers[connection]
        buffer += data
        while len(buffer) >= PACKET_BYTES:
            packet = Packet.parse(bytes(buffer[:PACKET_BYTES]))
            del buffer[:PACKET_BYTES]
            self.packets.append(packet)
            if packet.command != _CONNECT:
                with contextlib.suppress(BrokenPipeError):  # the guest has ended
                    connection.sendall(packet.data)
