# SPDX-License-Identifier: Apache-2.0
"""The history's file: sums, bounds, damage, and death at any moment."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.energy.residency import Activity
from orchestrator.errors import StateError
from orchestrator.history.holds import HoldCause
from orchestrator.history.minute import DomainMinute, HoldTime, Minute, Requests, Step
from orchestrator.history.ranges import Range
from orchestrator.history.store import HISTORY_NAME, ROLL_UP_AFTER_S, HistoryStore
from tests.history.minutes import (
    DAY_S,
    FIREWALL,
    ROUTER,
    START_S,
    domain_minute,
    minute,
)

CHECKOUT = Path(__file__).parents[2]
EVER = Range(0.0, 1e12, 1e12)


def store_at(path: Path, max_bytes: int = 50_000_000) -> HistoryStore:
    return HistoryStore(path / HISTORY_NAME, max_bytes=max_bytes, max_age_s=30 * DAY_S)


def test_what_is_written_is_read_in_parts(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    for number in range(4):
        others = (domain_minute(ROUTER, "router"),) if number == 3 else ()
        store.add(minute(number, domain_minute(), *others))
    found = store.read(Range(START_S, START_S + 240, 120))
    assert [host.number for host in found.hosts] == [0, 1]
    assert found.hosts[1].measured_j == 12_000
    assert found.hosts[1].is_calibrated
    assert found.hosts[1].source == "powercap"
    assert [(part.number, part.name) for part in found.domains] == [
        (0, "fw"),
        (1, "fw"),
        (1, "router"),
    ]
    firewall = found.domains[1]
    assert firewall.requests == Requests(200, 6, 4, 2)
    assert firewall.refusals == {"floating": 4, "no-vcpu": 2}
    assert firewall.holds == {HoldCause.LOWER_LIMIT: HoldTime(60.0, 24.0)}
    assert (firewall.energy_j, firewall.saved_j, firewall.possible_j) == (
        1_200,
        600,
        800,
    )
    # Clock groups are not kept: two slots with the same frequencies are one step.
    assert firewall.residency == {
        Step(Activity.POLL, 1_200_000, 1_200_000, 3_000_000): 180.0,
        Step(Activity.POLL, 3_000_000, 1_200_000, 3_000_000): 60.0,
    }
    assert found.events == {"policy": 4}
    (total,) = store.read(
        Range(START_S, START_S + 240, 240, is_per_domain=False)
    ).domains
    assert (total.uuid, total.name) == ("", "")
    assert total.requests == Requests(500, 15, 10, 5)
    assert total.refusals == {"floating": 10, "no-vcpu": 5}
    assert sum(total.residency.values()) == 5 * 120
    only = store.read(Range(START_S, START_S + 240, 240, frozenset({ROUTER})))
    assert [part.name for part in only.domains] == ["router"]
    store.close()


def test_a_range_has_its_beginning_and_not_its_end(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    for number in range(3):
        store.add(minute(number))
    found = store.read(Range(START_S + 60, START_S + 120, 60))
    assert [host.duration_s for host in found.hosts] == [60.0]
    store.close()


def test_without_energy_there_are_requests_only(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    plain = DomainMinute(uuid=FIREWALL, name="fw", requests=Requests(total=7))
    store.add(Minute(start_s=START_S, duration_s=60.0, domains=(plain,)))
    (part,) = store.read(EVER).domains
    assert (part.has_energy, part.requests.total, part.energy_j) == (False, 7, 0)
    assert store.read(EVER).hosts[0].source is None
    store.close()


def test_a_domain_has_its_latest_name(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.add(minute(0))
    store.add(minute(1, domain_minute(name="fw-new")))
    (part,) = store.read(EVER).domains
    assert part.name == "fw-new"
    assert part.requests.total == 200
    store.close()


def test_minutes_become_hours_without_a_change_of_sums(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    for number in range(90):
        store.add(minute(number))
    before = store.read(EVER)
    store.add(minute((ROLL_UP_AFTER_S + DAY_S) // 60))
    with closing(sqlite3.connect(tmp_path / HISTORY_NAME)) as raw, raw:
        count = raw.execute("SELECT COUNT(*) FROM interval").fetchone()[0]
    assert count == 3  # two hours and the last minute
    after = store.read(Range(START_S, START_S + 2 * 3600, 1e12))
    assert after.hosts == before.hosts
    assert after.domains == before.domains
    parts = store.read(Range(START_S, START_S + 2 * 3600, 3600)).domains
    assert [part.duration_s for part in parts] == [3600.0, 1800.0]
    store.close()


def test_what_is_too_old_is_deleted(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.add(minute(0))
    store.add(minute(31 * DAY_S // 60))
    assert len(store.read(Range(0, START_S + DAY_S, 1e12)).hosts) == 0
    with closing(sqlite3.connect(tmp_path / HISTORY_NAME)) as raw, raw:
        for table in ("interval", "domain_interval", "residency", "refusal", "hold"):
            assert raw.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] <= 2
    store.close()


def test_the_file_stays_within_its_size_and_keeps_the_newest(tmp_path: Path) -> None:
    limit = 300_000
    store = store_at(tmp_path, limit)
    many = tuple(domain_minute(f"{n:036}", f"d{n}") for n in range(40))  # type: ignore[arg-type]
    last = 0
    for number in range(60):
        last = number * 240
        store.add(minute(last, *many))
    store.close()
    assert (tmp_path / HISTORY_NAME).stat().st_size < 2 * limit
    starts = store.read(Range(START_S, START_S + 60 * last + 60, 60)).hosts
    assert 1 < len(starts) < 60
    assert starts[-1].number == last


def test_one_minute_that_is_larger_than_the_limit_is_kept(tmp_path: Path) -> None:
    store = store_at(tmp_path, 1)
    store.add(minute(0))
    store.add(minute(1))
    assert len(store.read(Range(START_S, START_S + 120, 60)).hosts) == 1
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"not a database " * 1000),
        lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(5000)),
        lambda path: _execute(path, "PRAGMA user_version = 99"),
        lambda path: _execute(path, "DROP TABLE hold"),
    ],
    ids=["text", "zeros", "newer", "incomplete"],
)
def test_a_file_that_cannot_be_used_is_set_aside(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    path = tmp_path / HISTORY_NAME
    store = store_at(tmp_path)
    store.add(minute(0))
    store.close()
    damage(path)
    contents = path.read_bytes()
    store = store_at(tmp_path)
    store.add(minute(1))
    assert len(store.read(EVER).hosts) == 1
    assert store.set_aside == path.with_name("history.sqlite.unreadable")
    kept = store.set_aside.read_bytes()
    # SQLite counts accesses in its header.
    assert (len(kept), kept[:24]) == (len(contents), contents[:24])
    store.close()


def _execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(statement)


def test_pages_that_are_damaged_later_are_an_error_or_a_new_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / HISTORY_NAME
    store = store_at(tmp_path)
    for number in range(50):
        store.add(minute(number))
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    store = store_at(tmp_path)
    for number in range(50, 53):
        store.add(minute(number))
    assert store.read(EVER).hosts
    store.close()


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = HistoryStore(
        tmp_path / "file" / HISTORY_NAME, max_bytes=1_000_000, max_age_s=DAY_S
    )
    with pytest.raises(StateError, match="cannot write"):
        store.add(minute(0))
    assert store.read(EVER) == ([], [], {})


def test_reading_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.add(minute(0))
    path = tmp_path / HISTORY_NAME
    with closing(sqlite3.connect(path, isolation_level=None)) as writer, writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM interval")
        assert len(store.read(EVER).hosts) == 1
        writer.execute("ROLLBACK")
    store.close()


WRITER = """
import sys
from pathlib import Path
from orchestrator.history.store import HISTORY_NAME, HistoryStore
from tests.history.minutes import minute

store = HistoryStore(
    Path(sys.argv[1]) / HISTORY_NAME, max_bytes=400_000, max_age_s=864_000
)
number = int(sys.argv[2])
while True:
    store.add(minute(number))
    print(number, flush=True)
    number += 7
"""


def test_a_kill_at_any_moment_leaves_a_readable_history(tmp_path: Path) -> None:
    chance = random.Random(7)
    first = 0
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(first)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        written = first
        for _ in range(chance.randrange(1, 40)):
            written = int(process.stdout.readline())
        # Busy for a random time: most of it is inside of a transaction.
        sum(range(chance.randrange(100_000)))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait(timeout=60)
        process.stdout.close()
        written = int(rest[-1]) if rest else written
        store = store_at(tmp_path)
        found = store.read(Range(START_S, START_S + 60 * (written + 8), 60))
        assert store.set_aside is None
        # What was reported as written is there; one more may be, whole.
        numbers = {host.number for host in found.hosts}
        assert written in numbers
        assert {part.number for part in found.domains} == numbers
        for part in found.domains:  # some of them are hours by now
            assert sum(part.residency.values()) == 2 * part.duration_s
        with closing(sqlite3.connect(tmp_path / HISTORY_NAME)) as raw, raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        first = written + 7
