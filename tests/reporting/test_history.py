# SPDX-License-Identifier: Apache-2.0
"""The history as a document, and how long it may be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from orchestrator.config import EnergyConfig
from orchestrator.errors import ControlError
from orchestrator.history.ranges import Range
from orchestrator.history.store import HISTORY_NAME, HistoryStore
from orchestrator.reporting.history import MAX_ROWS, check_rows, render_history
from tests.history.minutes import DAY_S, START_S, minute

if TYPE_CHECKING:
    from pathlib import Path


def test_the_document_has_what_was_written(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / HISTORY_NAME, max_bytes=10**9, max_age_s=DAY_S)
    store.add(minute(0))
    found = store.read(Range(START_S, START_S + 60, 60))
    store.close()
    begin = datetime.fromtimestamp(START_S, UTC)
    document = render_history(
        found,
        EnergyConfig(price_per_kwh=0.3),
        since=begin,
        until=begin.replace(hour=1),
        step_s=60,
        problem="disk full",
    )
    (host,), (domain,) = document.hosts, document.domains
    assert (host.measured_joules, host.calibrated, host.holes) == (6_000, True, 0)
    assert (domain.saved_joules, domain.possible_joules) == (300, 400)
    assert [(step.khz, step.core_s) for step in domain.steps] == [
        (1_200_000, 90),
        (3_000_000, 30),
    ]
    assert [(hold.cause, hold.joules) for hold in domain.holds] == [("lower-limit", 12)]
    assert (document.price_per_kwh, document.problem) == (0.3, "disk full")


def test_an_answer_that_is_too_long_is_refused_with_what_to_do() -> None:
    check_rows(MAX_ROWS)
    with pytest.raises(ControlError, match="too many rows: 10001") as caught:
        check_rows(MAX_ROWS + 1)
    assert (caught.value.status, "per_domain=false" in caught.value.hint) == (400, True)
