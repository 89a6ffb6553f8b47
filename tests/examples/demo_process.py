"""The demo as a process on a terminal of its own, or without one."""

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

if TYPE_CHECKING:
    from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[2]
_DIRECTORY = re.compile(r"--run-dir (\S+)/vmp status")
_COLUMNS, _ROWS = 110, 40


class DemoProcess:
    """One run of the demo whose output is read as it comes.

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

    def read_until(self, word: str, *, timeout_s: float = 60.0) -> None:
        """Read until a word has been printed.

        Raises:
            TimeoutError: it was not.
            EOFError: the demo ended before.
        """
        deadline = time.monotonic() + timeout_s
        while word not in self.output:
            if not self._read(deadline):
                raise EOFError(f"no '{word}' in:\n{self.output}")

    def wait(self, *, timeout_s: float = 90.0) -> int:
        """Read to the end and return the exit status.

        Raises:
            TimeoutError: there is no end.
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
        """Where everything of it is, while it runs."""
        found = _DIRECTORY.search(self.output)
        assert found, self.output
        return Path(found[1])

    def leftovers(self) -> list[str]:
        """Return what is still there of it: its directory, and processes."""
        directory = self.directory
        left = [str(directory)] if directory.exists() else []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if bytes(directory) in line:
                left.append(line.replace(b"\0", b" ").decode())
        return left

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], deadline - time.monotonic())
        if not ready:
            raise TimeoutError(f"the demo says nothing more:\n{self.output}")
        try:
            data = os.read(self._fd, 65_536)
        except OSError:
            return False  # how a terminal says that nobody is there any more
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
