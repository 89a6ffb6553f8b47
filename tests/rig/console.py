# SPDX-License-Identifier: Apache-2.0
"""What a guest has printed, from the file of its serial console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rig.waiting import GUEST_DEADLINE_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path


class Console:
    """A guest's console.

    Synchronization: any thread; it only reads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def text(self) -> str:
        """Everything so far, with plain line ends."""
        if not self.path.exists():
            return ""
        return self.path.read_bytes().decode(errors="replace").replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """All complete lines so far."""
        return self.text.split("\n")[:-1]

    def wait_for(self, text: str, *, timeout_s: float = GUEST_DEADLINE_S) -> str:
        """Wait until ``text`` has been printed; return the line in which it begins.

        Raises:
            TimeoutError: it was not; the error shows the console.
        """

        def find_line() -> str | None:
            found = [line for line in self.lines if text in line]
            return found[0] if found else None

        try:
            return wait_for(find_line, f"{text!r} on the console", timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it shows:\n{self.text}") from None
