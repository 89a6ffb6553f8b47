# SPDX-License-Identifier: Apache-2.0
"""Parses what guests print on their serial consoles.

Source: `forwarder.c` and `load.sh` beside this file document the lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PREFIX = "@ "
DONE = "@ done"
"""The guest's last line; it then waits to be stopped."""
_LAST_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class VCpuReport:
    """A line of one vCPU: counts since its start, and the latest round trips."""

    vcpu: int
    ms: int
    """Milliseconds since the program started."""
    queue: int
    """Packets waiting."""
    arrived: int
    served: int
    lost: int
    """Packets dropped because the queue was full."""
    mhz: int
    """The frequency that the guest assumes, from the answers it received."""
    sent: int
    acks: int
    nacks: int
    none: int
    """Requests without an answer within 10 ms."""
    late: int
    """Answers that arrived after that."""
    rtt_us: tuple[int, ...]
    """Round trips since the last line, measured by the guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """A line of one vCPU of a guest with P-states."""

    vcpu: int
    ms: int
    """Milliseconds since the load began."""
    load: int
    """Percentage of the time that the vCPU is kept busy."""
    khz: int
    """The frequency that the guest's kernel requested last."""
    changes: int
    """Changes of that frequency since the boot, by the guest's kernel."""
    governor: str
    """Of the guest's kernel."""


def parse_load(line: str) -> LoadReport | None:
    """Parse a line; None if it is not such a report, or is incomplete."""
    try:
        governor, values = _split(line, "governor")
        return LoadReport(governor=governor, **values)
    except (ValueError, TypeError):
        return None


def parse_report(line: str) -> VCpuReport | None:
    """Parse a line; None if it is not a report, or is incomplete."""
    try:
        trips, values = _split(line, "rtt_us")
        rtt_us = tuple(int(trip) for trip in trips.split(",") if trip)
        return VCpuReport(rtt_us=rtt_us, **values)
    except (ValueError, TypeError):
        return None


def _split(line: str, text: str) -> tuple[str, dict[str, int]]:
    """Return the only field that is not a number, by its name, and all others.

    Raises:
        ValueError: it is not a line of a report.
    """
    if not line.startswith(_PREFIX):
        raise ValueError(line)
    fields = dict(field.partition("=")[::2] for field in line[len(_PREFIX) :].split())
    value = fields.pop(text, "")
    return value, {name: int(number) for name, number in fields.items()}


class Console:
    """The log file of a guest's serial console, read as it grows.

    Synchronization: one thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines: list[str] = []
        self._partial = ""

    def read_lines(self) -> list[str]:
        """Return the complete lines since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []  # the guest has not been started yet
        self._offset += len(data)
        *lines, self._partial = (self._partial + data.decode("ascii", "replace")).split(
            "\n"
        )
        lines = [line.strip("\r") for line in lines]
        self._lines += lines
        return lines

    def has(self, text: str) -> bool:
        """Return whether a line contains a text."""
        return any(text in line for line in self._lines)

    def tail(self) -> str:
        """Return the last lines, for an error message."""
        return "\n".join([*self._lines, self._partial][-_LAST_LINES:])
