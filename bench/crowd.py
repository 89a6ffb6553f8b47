# SPDX-License-Identifier: Apache-2.0
"""The host side of many idle channels, in a separate process.

It listens like QEMU, which serves one client at a time: the next one is accepted when
the client before it has closed its connection.

    python -m bench.crowd SOCKETS CHANNELS
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.workspace import Workspace

_BACKLOG = 1
"""As QEMU's."""


class Crowd:
    """The running process.

    Synchronization: one thread.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait_until_open(self, number: int) -> int:
        """Wait until exactly this many channels have a client.

        Returns:
            When that was so, in ns of the monotonic clock.

        Raises:
            BenchError: the process ended.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise BenchError("the listening process has no pipes")
        print(number, file=stdin, flush=True)
        line = stdout.readline()
        if not line:
            raise BenchError("the listening process ended")
        return int(line)


@contextmanager
def start_crowd(workspace: Workspace) -> Iterator[Crowd]:
    """Start a process that listens on all channels of a workspace."""
    arguments = [str(workspace.sockets), str(workspace.channels)]
    with subprocess.Popen(
        [sys.executable, "-m", "bench.crowd", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if not process.stdout or "listening" not in process.stdout.readline():
            raise BenchError("the channels cannot be listened on")
        try:
            yield Crowd(process)
        finally:
            process.kill()


class _Sockets:
    """All sockets, those of the listeners and those of the clients.

    Synchronization: one thread.
    """

    def __init__(self, directory: Path, channels: int) -> None:
        self._poller = select.epoll()
        self._listeners: dict[int, socket.socket] = {}
        self._clients: dict[int, tuple[socket.socket, socket.socket]] = {}
        """Each with its listener."""
        for number in range(channels):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(directory / str(number)))
            listener.listen(_BACKLOG)
            self._listeners[listener.fileno()] = listener
            self._poller.register(listener, select.EPOLLIN)
        self._poller.register(sys.stdin, select.EPOLLIN)

    @property
    def open(self) -> int:
        """Channels that have a client."""
        return len(self._clients)

    def serve_once(self) -> bool:
        """Accept and close what there is; return whether there is a line to read."""
        is_asked = False
        for fd, _ in self._poller.poll():
            if fd == sys.stdin.fileno():
                is_asked = True
            elif listener := self._listeners.pop(fd, None):
                self._accept(listener)
            else:
                self._drop(fd)
        return is_asked

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        self._poller.unregister(listener)
        self._clients[client.fileno()] = (client, listener)
        self._poller.register(client, select.EPOLLIN)

    def _drop(self, fd: int) -> None:
        client, listener = self._clients[fd]
        if client.recv(4096):
            return
        del self._clients[fd]
        client.close()
        self._listeners[listener.fileno()] = listener
        self._poller.register(listener, select.EPOLLIN)


def main() -> None:
    """Serve; answer each line of standard input when as many channels are open."""
    directory, channels = sys.argv[1:]
    sockets = _Sockets(Path(directory), int(channels))
    print("listening", flush=True)
    awaited: int | None = None
    while True:
        if sockets.serve_once():
            line = sys.stdin.readline()
            if not line:
                return
            awaited = int(line)
        if awaited is not None and sockets.open == awaited:
            print(time.monotonic_ns(), flush=True)
            awaited = None


if __name__ == "__main__":
    main()
