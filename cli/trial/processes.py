# SPDX-License-Identifier: Apache-2.0
"""The processes of a trial: none of them outlives it.

Source: man 2 prctl, PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.trial.errors import TrialError
from cli.trial.places import log_of

if TYPE_CHECKING:
    from cli.trial.directory import TrialDirectory

_PR_SET_PDEATHSIG = 1
_STOP_S = 15.0
"""vmpowerd waits for libvirt and its monitor for a few seconds at most."""
_SHOWN_LINES = 5


@dataclass(slots=True)
class Child:
    """A process, and what it is."""

    what: str
    """For messages."""
    process: subprocess.Popen[bytes]


class Processes:
    """Starts processes, and ends them in the opposite order.

    Synchronization: one thread, the only one of this process: the kernel ends the
    children with the thread that has started them.
    """

    def __init__(self, directory: TrialDirectory) -> None:
        """Start nothing yet.

        Args:
            directory: has their log, and the lock that they inherit.
        """
        self._directory = directory
        self._log = log_of(directory.path)
        self._children: list[Child] = []

    def start(self, what: str, module: str, *arguments: str) -> int:
        """Run a module of this installation; return the process ID.

        Args:
            what: it is, for messages.
            module: its name.
            arguments: of the program.

        Raises:
            TrialError: the system refuses another process.
        """
        parent = os.getpid()
        prctl = ctypes.CDLL(None, use_errno=True).prctl

        def end_with_parent() -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:  # it ended before
                os._exit(1)

        try:
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", module, *arguments],
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(self._directory.lock_fd,),
                    # Ctrl-C is for this process, which ends the others in order.
                    start_new_session=True,
                    preexec_fn=end_with_parent,  # noqa: PLW1509 - no other thread
                )
        except OSError as error:
            raise TrialError(f"cannot start {what}: {error.strerror}") from error
        self._children.append(Child(what, process))
        return process.pid

    def check(self) -> None:
        """Return if all are running.

        Raises:
            TrialError: one has ended.
        """
        for child in self._children:
            status = child.process.poll()
            if status is not None:
                raise TrialError(
                    f"{child.what} has ended with status {status}", hint=self._tail()
                )

    def wait(self) -> None:
        """Wait until one of them ends.

        Raises:
            TrialError: it has ended.
        """
        while True:
            # Leaves the process to be waited for by its object.
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            self.check()

    def stop(self) -> None:
        """End all of them."""
        for child in reversed(self._children):
            child.process.terminate()
            try:
                child.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self._children.clear()

    def _tail(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(["the end of its log:", *text.splitlines()[-_SHOWN_LINES:]])


def _environment() -> dict[str, str]:
    """Return the environment in which the modules of this process are found.

    Installed as a package, they are on no path that Python knows by itself.
    """
    ours = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ours.pop("NOTIFY_SOCKET", None)  # of the service manager, not for this daemon
    return ours
