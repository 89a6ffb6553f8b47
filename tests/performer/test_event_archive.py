# SPDX-License-Identifier: Apache-2.0
"""Events on disk: read again, bounded, and no reason to fail."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.control.models import EventRecord
from orchestrator.performer.event_archive import EventArchive

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MAX_BYTES = 2_000


def record(number: int) -> EventRecord:
    return EventRecord(
        id=number,
        time=datetime.now(UTC),
        kind="policy",
        domain="fw",
        text=f"event {number} \N{SNOWMAN}\u2028",
        facts={"number": number},
    )


def keep(path: Path, numbers: range) -> list[EventRecord]:
    archive = EventArchive(path, MAX_BYTES)
    records = [record(number) for number in numbers]
    for each in records:
        archive.append(each)
    archive.close()
    return records


def load(path: Path) -> list[EventRecord]:
    archive = EventArchive(path, MAX_BYTES)
    archive.close()
    return archive.load()


def test_events_of_earlier_runs_are_loaded_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events"
    kept = keep(path, range(1, 4)) + keep(path, range(4, 6))
    assert load(path) == kept
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_files_bound_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events"
    keep(path, range(1, 101))
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= MAX_BYTES
    numbers = [each.id for each in load(path)]
    assert numbers == [*range(numbers[0], 101)]
    assert len(numbers) > MAX_BYTES // 150


def test_a_damaged_file_costs_only_its_damaged_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "events"
    first, second = keep(path, range(1, 3))
    whole = path.read_bytes()
    path.write_bytes(b"\xff\n" + whole + whole[:40])
    assert load(path) == [first, second]
    assert "left out 2 damaged lines" in caplog.text


def test_a_link_is_neither_read_nor_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "target"
    keep(target, range(1, 3))
    before = target.read_bytes()
    path = tmp_path / "events"
    path.symlink_to(target)
    assert load(path) == []
    with caplog.at_level(logging.WARNING):
        keep(path, range(3, 5))
    assert target.read_bytes() == before
    assert "events will not outlive a restart" in caplog.text


def test_without_files_there_are_no_events(tmp_path: Path) -> None:
    assert load(tmp_path / "events") == []
