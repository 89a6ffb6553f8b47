# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from cli.commands.moments import parse_moment
from orchestrator.errors import ConfigError

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", ""),
        ("2026-02-28", "2026-02-28T00:00:00+01:00"),
        ("2026-02-28 14:30", "2026-02-28T14:30:00+01:00"),
        ("2026-02-28T14:30:00Z", "2026-02-28T14:30:00+00:00"),
        ("14:30", "2026-03-01T14:30:00+01:00"),
        ("90min", "2026-03-01T10:30:00+01:00"),
        ("2 h ago", "2026-03-01T10:00:00+01:00"),
        ("1d", "2026-02-28T12:00:00+01:00"),
        ("30s", "2026-03-01T11:59:30+01:00"),
    ],
)
def test_a_moment_is_a_date_a_time_or_a_while_ago(text: str, moment: str) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday-ish", "25:00", "10 parsecs", "-3h"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid time"):
        parse_moment(text, NOW)
