# SPDX-License-Identifier: Apache-2.0
"""The host's side of the talker's rig port: sends statements, returns results.

The language is documented in ``examples/guests/talker.c``.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from tests.rig.waiting import GUEST_DEADLINE_S, connect, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.console import Console

RIG_TARGET = "vmpower.rig"

_COUNTER = re.compile(r"(\w+)=(\d+)")


class Stats(NamedTuple):
    """The talker's counters of one channel since it was opened or flooded."""

    sent: int
    acks: int
    nacks: int
    others: int
    """Other answers."""
    refused: int
    """Further requests, which the guest's kernel refused: no host connected, or the
    queue was full."""
    late: int
    """Answers after more than 10 ms."""
    p50_us: int
    p99_us: int
    max_us: int

    @property
    def answers(self) -> int:
        """The number of all answers."""
        return self.acks + self.nacks + self.others


class Talker:
    """A connection to the talker in one guest.

    Synchronization: one thread.
    """

    def __init__(
        self, path: Path, console: Console, *, timeout_s: float = GUEST_DEADLINE_S
    ) -> None:
        self._console = console
        self._lines: deque[str] = deque()
        self._buffer = b""
        self._socket = connect(path)
        try:
            console.wait_for("= ready", timeout_s=timeout_s)
        except BaseException:
            self._socket.close()
            raise

    def run(self, statement: str, *, timeout_s: float = GUEST_DEADLINE_S) -> str:
        """Run a statement; return its result, such as ``ok`` or ``ack 512 us``.

        Raises:
            TimeoutError: it took longer.
        """
        return self.run_all(statement, timeout_s=timeout_s)[0]

    def run_all(self, text: str, *, timeout_s: float = GUEST_DEADLINE_S) -> list[str]:
        """Run several statements (separated by ``;``); return their results.

        Raises:
            TimeoutError: one took longer.
        """
        self._socket.sendall(text.encode() + b"\n")
        statements = text.split(";")
        return [self._result_of(statement, timeout_s) for statement in statements]

    def request(self, number: int, unit: int) -> str:
        """Send a request until it is answered in time; return ``ack`` or ``nack``.

        The daemon drops an answer that would be late, as on a busy machine.
        """

        def answer() -> str | None:
            word = self.run(f"ask:{number}:{unit}").split()[0]
            return word if word in ("ack", "nack") else None

        what = f"an answer on channel {number}"
        return wait_for(answer, what, timeout_s=GUEST_DEADLINE_S)

    def stats(self, number: int) -> Stats:
        """Return the counters of a channel so far."""
        return parse_stats(self.run(f"stats:{number}"))

    def stop(self, number: int) -> Stats:
        """End a flood, wait (at most 1 s) for missing answers; return the counters."""
        return parse_stats(self.run(f"stop:{number}"))

    def close(self) -> None:
        """Hang up; the guest keeps running."""
        self._socket.close()

    def _result_of(self, statement: str, timeout_s: float) -> str:
        verb = statement.split(":", maxsplit=1)[0]
        expected = f"= {'say' if verb == 'say' else statement}: "
        self._socket.settimeout(timeout_s)
        while True:
            while self._lines:
                line = self._lines.popleft()
                if line.startswith(expected):
                    return line.removeprefix(expected)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise TimeoutError(
                    f"{statement}: no result in {timeout_s} s; the console shows:\n"
                    f"{self._console.text}"
                ) from None
            if not data:
                raise ConnectionError(f"{statement}: the guest is gone")
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            self._lines.extend(line.decode() for line in lines)


def parse_stats(text: str) -> Stats:
    """Parse the result of ``stats`` and ``stop``."""
    counters = {name: int(value) for name, value in _COUNTER.findall(text)}
    return Stats(**counters)
