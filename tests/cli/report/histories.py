# SPDX-License-Identifier: Apache-2.0
"""A history of an hour that ended now, behind the fake daemon."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator.history.holds import HoldCause
from orchestrator.history.minute import DomainMinute, HoldTime
from orchestrator.history.store import HISTORY_NAME, HistoryStore
from tests.control.fake_host import FIREWALL, ROUTER
from tests.history.minutes import DAY_S, domain_minute, host_energy, minute

if TYPE_CHECKING:
    from pathlib import Path

MINUTES = 60


def observed(name: str = "<router>") -> DomainMinute:
    """Return a domain in mode observe: nothing was saved, but could have been."""
    usual = domain_minute(ROUTER, name)  # type: ignore[arg-type]
    assert usual.energy is not None
    return replace(
        usual,
        refusals={"observe": 3},
        holds={HoldCause.OBSERVE: HoldTime(240.0, 500.0)},
        energy=replace(
            usual.energy, joules=900.0, saved_joules=0.0, possible_joules=400.0
        ),
    )


def fill(directory: Path) -> HistoryStore:
    """Write the history, one minute after the other, up to now."""
    store = HistoryStore(
        directory / HISTORY_NAME, max_bytes=10**9, max_age_s=400 * DAY_S
    )
    begin = datetime.now(UTC) - timedelta(minutes=MINUTES)
    for number in range(MINUTES):
        start_s = (begin + timedelta(minutes=number)).timestamp()
        host = replace(host_energy(), possible_joules=700.0)
        domains = (domain_minute(FIREWALL, "dpdk-fw"), observed())  # type: ignore[arg-type]
        store.add(replace(minute(number, *domains), start_s=start_s, host=host))
    return store
