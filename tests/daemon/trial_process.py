# SPDX-License-Identifier: Apache-2.0
"""A process of `vmpower try`, in a temporary directory of its own.

Usage::

    with TrialProcess(directory) as trial:
        trial.wait_until_ready()
        trial.interrupt()
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cli.trial import places
from orchestrator.control.client import ControlClient
from tests.daemon.daemon_process import CHECKOUT
from tests.rig.waiting import DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

READY = "Ctrl-C ends it"
_PROGRAM = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
from cli.__main__ import main
main()
"""
LAUNCHER = (sys.executable, "-I", "-c", _PROGRAM)
"""What the program of the Debian package does: its modules are on no other path."""


class TrialProcess:
    """One `vmpower try`.

    Synchronization: one thread.
    """

    def __init__(
        self,
        temporary: Path,
        *,
        program: Sequence[str] = LAUNCHER,
        user: int | None = None,
    ) -> None:
        """Start it.

        Args:
            temporary: for its directory.
            program: runs `vmpower`.
            user: whose rights it has; None: those of this process.
        """
        self.directory = (
            temporary / f"vmpower-try-{os.geteuid() if user is None else user}"
        )
        self._output = temporary / "output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*program, "try"],
                cwd="/",
                env={**os.environ, "TMPDIR": str(temporary), "HOME": "/nonexistent"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(DEADLINE_S)
        if error is not None:
            sys.stderr.write(self.output)

    @property
    def run_dir(self) -> Path:
        return places.run_dir_of(self.directory)

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def client(self) -> ControlClient:
        return ControlClient(self.run_dir / "vmpower.sock", timeout_s=DEADLINE_S)

    def wait_until_ready(self) -> None:
        """Wait until it prints what to type."""
        wait_for(lambda: READY in self.output or self._has_ended(), READY)
        assert READY in self.output, self.output

    def signal(self, number: int) -> int:
        """Send a signal and wait for the end; return the exit status."""
        self._process.send_signal(number)
        return self.wait_until_ended()

    def interrupt(self) -> int:
        """Do what Ctrl-C does; return the exit status."""
        return self.signal(signal.SIGINT)

    def wait_until_ended(self) -> int:
        """Wait for the end; return the exit status."""
        return self._process.wait(DEADLINE_S)

    def processes(self) -> list[int]:
        """Return the processes that it has started, and the daemon's monitor."""
        words = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        children = [int(pid) for pid in Path(words).read_text().split()]
        with self.client() as client:
            monitor = client.status()["daemon"]["monitor_pid"]
        assert monitor is not None
        return [*children, monitor]

    def _has_ended(self) -> bool:
        return self._process.poll() is not None
