# SPDX-License-Identifier: Apache-2.0
"""Times on the command line: a date, a time of today, or a while ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from orchestrator.errors import ConfigError

MOMENT_FORMATS = "2026-03-01, '2026-03-01 14:30', 14:30 or 90min (ago)"
"""How a time can be written, for help texts and messages."""
_AGO = re.compile(r"(\d{1,6})\s*(s|min|h|d)(?:\s+ago)?")
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


def parse_moment(text: str, now: datetime) -> str:
    """Return a time in ISO 8601 with a zone; an empty text stays empty.

    Args:
        text: as an operator writes it, in the zone of `now` unless it names one.
        now: the wall time, aware.

    Raises:
        ConfigError: it is not a time.
    """
    word = text.strip()
    if not word:
        return ""
    if ago := _AGO.fullmatch(word.lower()):
        span = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return (now - span).isoformat()
    for candidate in (word, f"{now.date()} {word}"):
        try:
            moment = datetime.fromisoformat(candidate)
        except ValueError:
            continue
        aware = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
        return aware.isoformat()
    raise ConfigError(f"invalid time '{text[:40]}': expected {MOMENT_FORMATS}")
