# SPDX-License-Identifier: Apache-2.0
"""A device that can be opened like a virtio port, connected to a channel's socket."""

from __future__ import annotations

import fcntl
import os
import select
import termios
import threading
import tty
from typing import TYPE_CHECKING, Self

from orchestrator.guest.port import PORT_NAME

if TYPE_CHECKING:
    import socket
    from pathlib import Path
    from types import TracebackType

_READ_BYTES = 4096


class PseudoPort:
    """A pseudo-terminal for a guest, forwarded to and from a socket.

    Synchronization: used by one thread; forwards in another.
    """

    def __init__(self, devices: Path, vcpu: int, channel: socket.socket) -> None:
        self._host_fd, guest_fd = os.openpty()
        tty.setraw(guest_fd)
        # Kept open: the terminal would hang up when the last program closes it.
        self._guest_fd = guest_fd
        links = devices / "virtio-ports"
        links.mkdir(exist_ok=True)
        (links / f"{PORT_NAME}{vcpu}").symlink_to(os.ttyname(guest_fd))
        self._channel = channel
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._pump)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._stopper)
        self._thread.join()
        for fd in (self._stop, self._host_fd, self._guest_fd):
            os.close(fd)

    def open_exclusively(self) -> None:
        """Make further opens fail with EBUSY, except with CAP_SYS_ADMIN."""
        fcntl.ioctl(self._guest_fd, termios.TIOCEXCL)

    def _pump(self) -> None:
        channel = self._channel.fileno()
        to = {self._host_fd: channel, channel: self._host_fd}
        while True:
            ready, _, _ = select.select([self._stop, *to], [], [])
            if self._stop in ready:
                return
            for fd in ready:
                os.write(to[fd], os.read(fd, _READ_BYTES))
