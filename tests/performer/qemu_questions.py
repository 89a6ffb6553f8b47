# SPDX-License-Identifier: Apache-2.0
"""A client that asks for RAPL registers as QEMU does; blocking.

Source: vmsr_open_socket and vmsr_read_msr of QEMU; see docs/specs/rapl-msr.rst there.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from tests.rig.waiting import connect

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 60.0
_WORD_BYTES = 4


class QemuQuestions:
    """One connection; the process that owns it is this one."""

    def __init__(self, path: Path) -> None:
        self._sock = connect(path)
        self._sock.settimeout(TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def send(self, register: int, pcpu: int, thread: int) -> None:
        words = (register, pcpu, thread)
        packed = [word.to_bytes(_WORD_BYTES, "little") for word in words]
        self._sock.sendall(b"".join(packed))

    def receive(self) -> int | None:
        """Return an answer; None: the other side has hung up."""
        data = b""
        while len(data) < 2 * _WORD_BYTES:
            try:
                piece = self._sock.recv(2 * _WORD_BYTES - len(data))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            data += piece
        return int.from_bytes(data, "little")

    def read(
        self, register: int, pcpu: int = 0, *, thread: int | None = None
    ) -> int | None:
        """Ask in the name of this thread, or of another one."""
        own = threading.get_native_id()
        try:
            self.send(register, pcpu, own if thread is None else thread)
        except BrokenPipeError:
            return None
        return self.receive()
