# SPDX-License-Identifier: Apache-2.0
"""The demo as a process, with or without a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.rig.waiting import GUEST_DEADLINE_S

if TYPE_CHECKING:
    from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[2]
_DIRECTORY = re.compile(r"--run-dir (\S+)/vmp status")
_COLUMNS, _ROWS = 110, 40


class DemoProcess:
    """A running demo, whose output is read incrementally.

    Synchronization: one thread.
    """

    def __init__(self, *arguments: str, has_terminal: bool = False) -> None:
        command = ["setsid", *["--ctty"] * has_terminal, sys.executable]
        command += ["-m", "examples.demo", *arguments]
        ours, theirs = pty.openpty() if has_terminal else os.pipe()
        if has_terminal:
            size = struct.pack("4H", _ROWS, _COLUMNS, 0, 0)
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        self._fd = ours
        self.process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            stdin=theirs if has_terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(theirs)
        self.output = ""

    def read_until(self, text: str, *, timeout_s: float = 60.0) -> None:
        """Read until a text has been printed.

        Raises:
            TimeoutError: the text was not printed in time.
            EOFError: the demo exited before.
        """
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            if not self._read(deadline):
                raise EOFError(f"no '{text}' in:\n{self.output}")

    def wait(self, *, timeout_s: float = GUEST_DEADLINE_S) -> int:
        """Read to the end and return the exit status.

        Raises:
            TimeoutError: the demo did not exit in time.
        """
        deadline = time.monotonic() + timeout_s
        while self._read(deadline):
            pass
        return self.process.wait(timeout=10)

    def type_interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._fd, b"\x03")

    @property
    def directory(self) -> Path:
        """The temporary directory of the running demo."""
        found = _DIRECTORY.search(self.output)
        assert found, self.output
        return Path(found[1])

    def leftovers(self) -> list[str]:
        """Return its directory and processes that still exist."""
        directory = self.directory
        left = [str(directory)] if directory.exists() else []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except OSError:
                continue  # it has exited meanwhile
            if bytes(directory) in line:
                left.append(line.replace(b"\0", b" ").decode())
        return left

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], deadline - time.monotonic())
        if not ready:
            raise TimeoutError(f"no further output of the demo:\n{self.output}")
        try:
            data = os.read(self._fd, 65_536)
        except OSError:
            return False  # EIO: the other end is closed
        self.output += data.decode("utf-8", "replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        os.close(self._fd)
