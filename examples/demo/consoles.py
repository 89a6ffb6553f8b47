"""What guests print on their serial consoles.

Source: `forwarder.c` beside this file documents the lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MARK = "@ "
DONE = "@ done"
"""The guest's last line; it waits for its end then."""
_LAST_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class VCpuReport:
    """One vCPU's line: counts since its start, and the latest round trips."""

    vcpu: int
    ms: int
    """Milliseconds since the program started."""
    queue: int
    """Packets that wait."""
    arrived: int
    served: int
    lost: int
    """Packets for which the queue had no room."""
    mhz: int
    """The clock that the guest believes to have, from the answers that it got."""
    sent: int
    acks: int
    nacks: int
    none: int
    """Requests whose answer the guest did not wait for any longer (10 ms)."""
    late: int
    """Answers that came all the same, afterwards."""
    rtt_us: tuple[int, ...]
    """Round trips since the last line, as the guest measured them."""


def parse_report(line: str) -> VCpuReport | None:
    """Read one line; None if it is no report, or was cut."""
    if not line.startswith(_MARK):
        return None
    words = dict(word.partition("=")[::2] for word in line[len(_MARK) :].split())
    trips = words.pop("rtt_us", "")
    try:
        values = {name: int(value) for name, value in words.items()}
        rtt_us = tuple(int(trip) for trip in trips.split(",") if trip)
        return VCpuReport(rtt_us=rtt_us, **values)
    except (ValueError, TypeError):
        return None


class Console:
    """The file that a guest's serial console goes to, read as it grows.

    Synchronization: one thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines: list[str] = []
        self._partial = ""

    def read_lines(self) -> list[str]:
        """Return the whole lines that came since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []  # the guest is not started yet
        self._offset += len(data)
        *lines, self._partial = (self._partial + data.decode("ascii", "replace")).split(
            "\n"
        )
        lines = [line.strip("\r") for line in lines]
        self._lines += lines
        return lines

    def has(self, word: str) -> bool:
        """Say whether a line that was read contains this."""
        return any(word in line for line in self._lines)

    def tail(self) -> str:
        """Return the last lines, for an error message."""
        return "\n".join([*self._lines, self._partial][-_LAST_LINES:])
