# SPDX-License-Identifier: Apache-2.0
"""The programs under fault: started through the fork server, and killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
"""Deadline of everything that takes milliseconds on a machine that is not loaded."""


class Program:
    """A process that the fork server has started.

    Synchronization: one thread.
    """

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.status: int | None = None
        """Exit status once the process has ended; negative: the signal."""

    @property
    def has_ended(self) -> bool:
        if self.status is None:
            self.status = self._server.poll(self.pid)
        return self.status is not None

    def signal(self, number: int) -> None:
        """Send a signal; does nothing if the process has ended."""
        if not self.has_ended:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for the end and return the exit status.

        Raises:
            TimeoutError: it does not end.
        """
        wait_for(lambda: self.has_ended, f"the end of {self.pid}", timeout_s=PATIENCE_S)
        assert self.status is not None
        return self.status

    def kill(self) -> None:
        """SIGKILL the process and wait for it."""
        self.signal(signal.SIGKILL)
        self.wait()


class ForkServer:
    """Starts `vmpowerd` and `vmpower`.

    Synchronization: one thread.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.fork_server"],
            cwd=CHECKOUT,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def start(self, *command: str, log: Path) -> Program:
        """Start a program with its arguments."""
        pid = self._ask({"start": command, "log": str(log)})
        assert pid is not None
        return Program(self, pid)

    def poll(self, pid: int) -> int | None:
        """Return the exit status of a process that has ended."""
        return self._ask({"poll": pid})

    def _ask(self, request: dict[str, object]) -> int | None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer


def kill_pid(pid: int) -> None:
    """SIGKILL a process that is not a child, if it runs, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)


def wait_for_end(pid: int) -> None:
    """Wait for the end of a process that is not a child.

    Raises:
        TimeoutError: it does not end.
    """
    wait_for(lambda: not is_running(pid), f"the end of {pid}", timeout_s=PATIENCE_S)


def is_running(pid: int) -> bool:
    """Whether a process exists that is not a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    except ProcessLookupError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
