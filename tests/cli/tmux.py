# SPDX-License-Identifier: Apache-2.0
"""A real terminal for tests: a separate tmux server that runs a shell.

Usage::

    with TmuxTerminal(tmp_path, width=80, height=24) as terminal:
        terminal.press("l", "s", "Enter")
        terminal.wait_for("README.md")
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests import subprocess_coverage
from tests.cli.conftest import ROOT
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

PROMPT = "ready>"


class TmuxTerminal:
    """A tmux window of the given size.

    Synchronization: one thread.
    """

    def __init__(
        self, variables: Mapping[str, str], *, width: int = 80, height: int = 24
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="vmt-", dir="/tmp")
        self._socket = Path(self._directory.name) / "tmux"
        self._size = (str(width), str(height))
        self._variables = {"PS1": PROMPT, **variables}

    def __enter__(self) -> Self:
        width, height = self._size
        kept = {"PATH": os.environ["PATH"], "HOME": self._directory.name}
        kept |= subprocess_coverage.variables()
        assignments = [f"{name}={value}" for name, value in self._variables.items()]
        shell = ["env", *assignments, "sh", "-i"]
        options = ["new-session", "-d", "-x", width, "-y", height, "-c", str(ROOT)]
        self._tmux("-f", "/dev/null", *options, *shell, env=kept)
        self.wait_for(PROMPT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            sys.stderr.write(self.screen())
        self._tmux("kill-server")
        self._directory.cleanup()

    def type(self, text: str) -> None:
        """Type characters."""
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys, named as tmux does: Enter, Up, Escape, C-c."""
        self._tmux("send-keys", *keys)

    def run(self, *arguments: str) -> None:
        """Run the command in the shell."""
        command = [sys.executable, "-m", "cli", *arguments]
        self.type(f"clear; echo before; {' '.join(command)}\n")

    def resize(self, width: int, height: int) -> None:
        """Resize the window."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def screen(self, *, with_colors: bool = False) -> str:
        """Return the visible text."""
        return self._tmux("capture-pane", "-p", *(["-e"] if with_colors else []))

    def wait_for(self, expected: str | Callable[[str], bool]) -> str:
        """Wait until text appears, or a condition holds; return the visible text."""

        def poll() -> str | None:
            seen = self.screen()
            if isinstance(expected, str):
                return seen if expected in seen else None
            return seen if expected(seen) else None

        return wait_for(poll, str(expected))

    def children(self) -> list[int]:
        """Return the child processes of the shell."""
        shell = self._tmux("list-panes", "-F", "#{pane_pid}").strip()
        path = Path(f"/proc/{shell}/task/{shell}/children")
        return [int(word) for word in path.read_text(encoding="ascii").split()]

    def _tmux(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-u", *arguments],
            env=None if env is None else dict(env),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout
