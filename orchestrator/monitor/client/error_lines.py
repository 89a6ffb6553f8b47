# SPDX-License-Identifier: Apache-2.0
"""Logs what the monitor process writes to its standard error, within bounds.

The monitor parses guests' bytes, so it gets no descriptor of the log itself. Its lines
are cut, marked, and limited in number: a traceback fits, a flood does not.
"""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 300
MAX_LINES = 100
"""In a period; a traceback of the monitor has some 30."""
PERIOD_S = 60.0


class ErrorLines:
    """Cuts a stream into lines and logs them.

    Synchronization: the owner.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._is_cut = False
        """Whether the current line has been logged as far as it may be."""
        self._logged = 0
        self._dropped = 0
        self._period_ends_s = float("-inf")

    def feed(self, data: bytes, now_s: float) -> None:
        """Log the lines that a piece of the stream completes.

        Args:
            data: the piece.
            now_s: the time (monotonic).
        """
        *ended, rest = data.split(b"\n")
        for line in ended:
            self._add(line, now_s)
            self._end_line(now_s)
        self._add(rest, now_s)

    def _add(self, piece: bytes, now_s: float) -> None:
        room = MAX_LINE_BYTES - len(self._rest)
        self._rest += piece[:room]
        if len(piece) > room and not self._is_cut:
            self._is_cut = True
            self._log(self._rest + b"...", now_s)

    def _end_line(self, now_s: float) -> None:
        if self._rest and not self._is_cut:
            self._log(self._rest, now_s)
        self._rest, self._is_cut = b"", False

    def close(self, now_s: float) -> None:
        """Log the rest of the stream, and how many lines were dropped."""
        self._end_line(now_s)
        self._report_dropped()

    def _log(self, line: bytes, now_s: float) -> None:
        if now_s >= self._period_ends_s:
            self._report_dropped()
            self._logged, self._period_ends_s = 0, now_s + PERIOD_S
        if self._logged >= MAX_LINES:
            self._dropped += 1
            return
        self._logged += 1
        logger.warning("monitor: %s", line.decode("utf-8", "backslashreplace"))

    def _report_dropped(self) -> None:
        if self._dropped:
            logger.warning("monitor: %d more lines dropped", self._dropped)
        self._dropped = 0
