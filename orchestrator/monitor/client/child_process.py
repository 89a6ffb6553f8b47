# SPDX-License-Identifier: Apache-2.0
"""The monitor's process, and main's ends of the connections to it.

The process parses what guests send, so it is not trusted either: a process whose
messages are malformed is killed. Its socket is closed only after its end, because a
monitor that sees it closed restores the clock groups.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import HandoffError
from orchestrator.monitor.client.error_lines import ErrorLines
from orchestrator.monitor.link.handoff import Handoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.monitor.link.messages import Message

logger = logging.getLogger(__name__)

_LAUNCHER = Path(__file__).parents[1] / "process" / "__main__.py"
_FLUSH_DELAY_S = 0.005
"""When to retry sending what did not fit. A timer rather than writability of the
socket, which says nothing when too many descriptors are in flight."""
_PIPE_BYTES = 65_536
"""What a pipe holds."""


class ChildProcess:
    """A process that runs at most once at a time.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        on_message: Callable[[Message], None],
        on_exit: Callable[[int], None],
        program: Path = _LAUNCHER,
    ) -> None:
        """Start nothing yet.

        Args:
            on_message: called with each message from the process; raises HandoffError
                for one that a working process does not send.
            on_exit: called with the exit status once the process has ended and all its
                messages have been received.
            program: the Python file that the process runs; its argument is the number
                of the socket's descriptor.
        """
        self._program = program
        self._on_message = on_message
        self._on_exit = on_exit
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._handoff: Handoff | None = None
        self._is_reading = False
        self._errors_fd = -1
        self._errors = ErrorLines()
        self._is_flush_due = False
        self._ended = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Process ID while the process runs."""
        return None if self._process is None else self._process.pid

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent."""
        return self._handoff is not None

    def spawn(self) -> None:
        """Start the process."""
        self._ended.clear()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(self._program), str(fd)],
                pass_fds=(fd,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
            )
        assert self._process.stderr is not None  # noqa: S101 - a pipe
        self._errors_fd = os.dup(self._process.stderr.fileno())
        self._process.stderr.close()
        os.set_blocking(self._errors_fd, False)
        self._handoff = Handoff(ours, is_receiving_fds=False)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._is_reading = True
        loop = asyncio.get_running_loop()
        loop.add_reader(self._handoff.fileno(), self._read_one)
        loop.add_reader(self._errors_fd, self._read_errors)
        loop.add_reader(self._pidfd, self._reap)

    async def end(self, timeout_s: float) -> None:
        """Wait until the process has ended; kill it after the timeout."""
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._ended.wait(), timeout_s)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """Kill the process, if any, and wait for its end."""
        if self._process is not None:
            self.kill_now()
            await self._ended.wait()

    def kill_now(self) -> None:
        """Kill the process, if any; `on_exit` follows."""
        if self._process is not None:
            self._process.kill()

    def _reap(self) -> None:
        if self._process is None:
            return
        while self._read_one():
            pass
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._stop_reading()
        self._close_handoff()
        self._close_errors()
        status = self._process.wait()
        self._process = None
        self._ended.set()
        self._on_exit(status)

    # The hand-off

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message, or queue it; ignored without a connection."""
        if self._handoff is not None:
            self._handoff.send(message, fds)
            self._flush_later()

    def _flush_later(self) -> None:
        if self._handoff is None or not self._handoff.is_blocked or self._is_flush_due:
            return
        self._is_flush_due = True
        asyncio.get_running_loop().call_later(_FLUSH_DELAY_S, self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._handoff is not None:
            self._handoff.flush()
            self._flush_later()

    def _read_one(self) -> bool:
        # One message at a time: the rest makes the socket readable again.
        if self._handoff is None or not self._is_reading:
            return False
        try:
            delivery = self._handoff.receive()
            if delivery is None:
                return False
            self._on_message(delivery.message)
        except EOFError:
            # The process is about to end; if it is not, it counts as hung.
            self._stop_reading()
            return False
        except HandoffError as error:
            self._stop_reading()
            logger.error("killing the monitor process: %s", error)  # noqa: TRY400
            self.kill_now()
            return False
        return True

    def _stop_reading(self) -> None:
        if self._handoff is not None and self._is_reading:
            asyncio.get_running_loop().remove_reader(self._handoff.fileno())
        self._is_reading = False

    def _close_handoff(self) -> None:
        if self._handoff is not None:
            self._handoff.close()
            self._handoff = None

    # The standard error

    def _read_errors(self) -> None:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._errors_fd, _PIPE_BYTES)
            if not data:
                asyncio.get_running_loop().remove_reader(self._errors_fd)
        self._errors.feed(data, asyncio.get_running_loop().time())

    def _close_errors(self) -> None:
        loop = asyncio.get_running_loop()
        self._read_errors()
        self._errors.close(loop.time())
        loop.remove_reader(self._errors_fd)
        os.close(self._errors_fd)
