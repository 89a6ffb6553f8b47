# SPDX-License-Identifier: Apache-2.0
"""`vmpower top` begins with the last minutes of the daemon's history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cli.top.history import MAX_SAMPLES, History
from cli.top.recorded import read_recorded
from orchestrator.control import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from tests.cli.report.histories import fill
from tests.control.fake_host import FIREWALL

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.documents import History as Recorded
    from tests.control.fake_daemon import FakeDaemon

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def recorded(requests: dict[int, int]) -> Recorded:
    """Return three minutes that end now, with a domain in some of them."""
    domains = [
        {
            "part": part,
            "uuid": "u",
            "duration_s": 60.0,
            "requests_total": count,
            "steps": [
                {"khz": 1_000_000, "core_s": 30.0},
                {"khz": 3_000_000, "core_s": 90.0},
                {"khz": 0, "core_s": 99.0},
            ],
        }
        for part, count in requests.items()
    ]
    return {
        "since": (NOW - timedelta(minutes=3)).isoformat(),
        "step_s": 60,
        "domains": domains,
    }  # type: ignore[typeddict-item]


def test_each_minute_is_repeated_for_its_samples() -> None:
    history = History()
    history.begin(recorded({0: 60, 1: 120}), NOW, 20.0)
    # The last minute is not written yet.
    assert history.domain_rates.last("u", 99) == [1, 1, 1, 2, 2, 2, None, None, None]
    assert history.domain_khz.last("u", 6) == [2_500_000] * 3 + [None] * 3


def test_no_more_is_kept_than_can_be_drawn() -> None:
    history = History()
    history.begin(recorded({0: 60, 1: 60, 2: 60}), NOW, 0.1)
    assert history.domain_rates.last("u", 9999) == [1.0] * MAX_SAMPLES


def test_samples_follow_what_was_recorded(daemon: FakeDaemon, run_dir: Path) -> None:
    daemon.store = fill(run_dir)
    with ControlClient(run_dir / READ_ONLY_SOCKET) as client:
        history = read_recorded(client, 10.0)
        before = history.domain_rates.last(FIREWALL, 999)
        known = [rate for rate in before if rate is not None]
        assert known == [pytest.approx(100 / 60)] * len(known)
        assert len(known) > 200
        history.add(client.status(), 0.0)
        after = history.domain_rates.last(FIREWALL, 999)
        assert after[:-1] == before[-(MAX_SAMPLES - 1) :]
