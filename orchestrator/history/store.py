# SPDX-License-Identifier: Apache-2.0
"""The history's file: SQLite, bounded by size and age.

Theory of operation: each minute is one transaction. The write-ahead log keeps the file
readable whenever the process is killed, and readers do not wait for the writer. It is
not synced for each minute: after a power failure the last minutes may be missing, but
the file is whole. Minutes become hours after two days, so that weeks are small and
fast to read; the oldest are deleted when they exceed the age or the file its size.

A file that is damaged, or has another schema, is set aside, and a new one begun: no
daemon fails for its history.

Synchronization: `add` and `close` in one thread; `read` in any, each with a connection
of its own.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from orchestrator.errors import StateError
from orchestrator.history.minute import Step
from orchestrator.history.ranges import Found, RangeReader
from orchestrator.history.schema import (
    DETAILS,
    DOMAIN_SUMS,
    HOST_SUMS,
    SCHEMA,
    SCHEMA_VERSION,
)
from orchestrator.system.ownership import create_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.history.minute import DomainMinute, Minute
    from orchestrator.history.ranges import Range

HISTORY_NAME = "history.sqlite"
ROLL_UP_AFTER_S = 2 * 86_400
"""Minutes become hours after this time."""
HOUR_S = 3_600
_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o600
_BUSY_S = 5.0
_ASIDE = ".unreadable"
_COMPANIONS = ("", "-wal", "-shm")
_PRUNED_HOURS = 24
"""So much is deleted at once if the file is too large."""


class HistoryStore:
    """The file.

    Synchronization: see the module.
    """

    def __init__(self, path: Path, *, max_bytes: int, max_age_s: float) -> None:
        """Open nothing yet.

        Args:
            path: the file; its directory is created.
            max_bytes: of the file; what is older than the rest is deleted.
            max_age_s: what is older is deleted.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._connection: sqlite3.Connection | None = None
        self._domains: dict[str, tuple[int, str]] = {}
        """ID and name by UUID, as far as they were written."""
        self.set_aside: Path | None = None
        """Where a file went that could not be used."""

    def add(self, minute: Minute) -> None:
        """Write a minute, in one transaction.

        Raises:
            StateError: it cannot be written.
        """
        try:
            try:
                self._add(minute)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside()
                self._add(minute)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StateError(f"cannot write {self._path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection, self._domains = None, {}

    def read(self, wanted: Range) -> Found:
        """Read a range; from any thread.

        Raises:
            StateError: the file cannot be read.
        """
        if not self._path.exists():
            return Found([], [], {})
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            with contextlib.closing(
                sqlite3.connect(uri, uri=True, timeout=_BUSY_S)
            ) as connection:
                connection.execute("BEGIN")
                return RangeReader(connection, wanted).read()
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StateError(f"cannot read {self._path}: {error}") from error

    # Writing

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        create_directory(self._path.parent, _DIRECTORY_MODE)
        self._path.touch(_FILE_MODE)
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"schema {version} is not {SCHEMA_VERSION}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        if version == 0:
            connection.executescript(
                f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        return connection

    def _set_aside(self) -> None:
        self.close()
        for companion in _COMPANIONS:
            path = self._path.with_name(self._path.name + companion)
            with contextlib.suppress(FileNotFoundError):
                path.replace(path.with_name(f"{self._path.name}{_ASIDE}{companion}"))
        self.set_aside = self._path.with_name(self._path.name + _ASIDE)

    def _add(self, minute: Minute) -> None:
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._insert(connection, minute)
            self._roll_up(connection, minute.start_s - ROLL_UP_AFTER_S)
            self._prune(connection, minute.start_s - self._max_age_s)
            self._shrink(connection)
        except BaseException:
            self._domains = {}
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        connection.execute("PRAGMA incremental_vacuum")

    def _insert(self, connection: sqlite3.Connection, minute: Minute) -> None:
        host = minute.host
        sums = (
            (
                *(host.measured_joules, host.static_joules, host.idle_joules),
                *(host.host_joules, host.error_joules, host.saved_joules),
                *(host.saved_error_joules, host.possible_joules),
            )
            if host
            else (0.0,) * len(HOST_SUMS)
        )
        number = _insert(
            connection,
            "interval",
            (
                None,
                minute.start_s,
                minute.duration_s,
                host.source.value if host else None,
                bool(host and host.is_static_calibrated),
                bool(host and host.hole),
                *sums,
            ),
        )
        for domain in minute.domains:
            self._insert_domain(connection, number, domain)
        connection.executemany(
            "INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?)", minute.events
        )

    def _insert_domain(
        self, connection: sqlite3.Connection, number: int, domain: DomainMinute
    ) -> None:
        key = (number, self._domain_id(connection, domain.uuid, domain.name))
        energy = domain.energy
        joules = (
            (
                *(energy.joules, energy.error_joules, energy.saved_joules),
                *(energy.saved_error_joules, energy.possible_joules),
            )
            if energy
            else (0.0,) * 5
        )
        row = (*key, energy is not None, *domain.requests, *joules)
        _insert(connection, "domain_interval", row)
        steps: dict[Step, float] = {}
        for slot, core_s in (energy.residency if energy else {}).items():
            step = Step(slot.activity, slot.khz, slot.requested_khz, slot.highest_khz)
            steps[step] = steps.get(step, 0.0) + core_s
        for table, rows in (
            ("residency", [(*step, core_s) for step, core_s in steps.items()]),
            ("refusal", list(domain.refusals.items())),
            ("hold", [(cause, *time) for cause, time in domain.holds.items()]),
        ):
            for detail in rows:
                _insert(connection, table, (*key, *detail))

    def _domain_id(self, connection: sqlite3.Connection, uuid: str, name: str) -> int:
        known = self._domains.get(uuid)
        if known is None or known[1] != name:
            connection.execute(
                "INSERT INTO domain (uuid, name) VALUES (?, ?)"
                " ON CONFLICT (uuid) DO UPDATE SET name = excluded.name",
                (uuid, name),
            )
            found = connection.execute("SELECT id FROM domain WHERE uuid = ?", (uuid,))
            known = self._domains[uuid] = (found.fetchone()[0], name)
        return known[0]

    @staticmethod
    def _roll_up(connection: sqlite3.Connection, before_s: float) -> None:
        """Replace the minutes of each whole hour before a time by one interval."""
        hours = connection.execute(
            f"SELECT CAST(start_s / {HOUR_S} AS INTEGER) AS hour FROM interval"
            " WHERE start_s < ? GROUP BY hour HAVING COUNT(*) > 1",
            (before_s // HOUR_S * HOUR_S,),
        ).fetchall()
        for (hour,) in hours:
            _combine(connection, hour * HOUR_S)

    @staticmethod
    def _prune(connection: sqlite3.Connection, before_s: float) -> None:
        connection.execute("DELETE FROM interval WHERE start_s < ?", (before_s,))
        connection.execute("DELETE FROM event WHERE at_s < ?", (before_s,))

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Delete the oldest until the file is small enough."""
        while _used_bytes(connection) > self._max_bytes:
            oldest = connection.execute("SELECT MIN(start_s) FROM interval").fetchone()
            newest = connection.execute("SELECT MAX(start_s) FROM interval").fetchone()
            if oldest[0] is None or oldest[0] == newest[0]:
                return
            before_s = min(oldest[0] + _PRUNED_HOURS * HOUR_S, newest[0])
            self._prune(connection, before_s)


def _insert(
    connection: sqlite3.Connection, table: str, values: Sequence[object]
) -> int:
    marks = ", ".join("?" * len(values))
    done = connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)
    return done.lastrowid or 0


def _combine(connection: sqlite3.Connection, start_s: float) -> None:
    """Combine the intervals of an hour."""
    range_s = (start_s, start_s + HOUR_S)
    inside = "start_s >= ? AND start_s < ?"
    sums = ", ".join(f"SUM({name})" for name in HOST_SUMS)
    done = connection.execute(
        "INSERT INTO interval SELECT NULL, ?, SUM(duration_s), MAX(source),"
        f" MIN(is_calibrated), SUM(holes), {sums} FROM interval WHERE {inside}",
        (start_s, *range_s),
    )
    number = done.lastrowid
    parts = f"SELECT id FROM interval WHERE {inside} AND id <> ?"
    values = (number, *range_s, number)
    sums = ", ".join(f"SUM({name})" for name in DOMAIN_SUMS)
    connection.execute(
        f"INSERT INTO domain_interval SELECT ?, domain, MAX(has_energy), {sums}"
        f" FROM domain_interval WHERE interval IN ({parts}) GROUP BY domain",
        values,
    )
    for table, keys, summed in DETAILS:
        key = ", ".join(keys)
        sums = ", ".join(f"SUM({name})" for name in summed)
        connection.execute(
            f"INSERT INTO {table} SELECT ?, domain, {key}, {sums} FROM {table}"
            f" WHERE interval IN ({parts}) GROUP BY domain, {key}",
            values,
        )
    connection.execute(
        f"DELETE FROM interval WHERE {inside} AND id <> ?", (*range_s, number)
    )


def _used_bytes(connection: sqlite3.Connection) -> int:
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file's contents are the reason; a full disk or a lock is not."""
    text = str(error)
    return (
        not isinstance(error, sqlite3.OperationalError)
        or "malformed" in text
        or "no such" in text  # a table or a column is missing
    )
