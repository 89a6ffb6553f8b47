# SPDX-License-Identifier: Apache-2.0
"""Ranges of the history: what they contain, in parts of one length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.energy.residency import Activity, MeterSource
from orchestrator.history.holds import HoldCause
from orchestrator.history.minute import HoldTime, Requests, Step
from orchestrator.history.schema import DETAILS, DOMAIN_SUMS, HOST_SUMS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


class Range(NamedTuple):
    """What to read."""

    since_s: float
    """Seconds since the epoch, UTC."""
    until_s: float
    step_s: float
    """Length of each part; the first begins at `since_s`."""
    uuids: frozenset[str] = frozenset()
    """Of domains; empty: all."""
    is_per_domain: bool = True
    """False: the sums of all domains, as one domain without UUID and name."""


class HostPart(NamedTuple):
    """The host in one part of a range; joules."""

    number: int
    """Of the part, from 0."""
    duration_s: float
    """How much of it was recorded."""
    source: str | None
    """The latest one; None: energy was not accounted for."""
    is_calibrated: bool
    holes: int
    """Intervals without usable meters."""
    measured_j: float
    static_j: float
    idle_j: float
    host_j: float
    error_j: float
    saved_j: float
    saved_error_j: float
    possible_j: float


class DomainPart(NamedTuple):
    """A domain in one part of a range; joules."""

    number: int
    uuid: str
    name: str
    duration_s: float
    """For how long it was seen to run."""
    has_energy: bool
    requests: Requests
    energy_j: float
    error_j: float
    saved_j: float
    saved_error_j: float
    possible_j: float
    residency: dict[Step, float]
    refusals: dict[str, int]
    holds: dict[HoldCause, HoldTime]


class Found(NamedTuple):
    """What a range contains."""

    hosts: list[HostPart]
    domains: list[DomainPart]
    events: dict[str, int]
    """Number of events, by kind."""


class RangeReader:
    """Reads one range over one connection."""

    def __init__(self, connection: sqlite3.Connection, wanted: Range) -> None:
        """Read nothing yet.

        Args:
            connection: to a file with the tables of `schema`.
            wanted: the range.
        """
        self._connection = connection
        self._wanted = wanted
        self._uuid, self._name = (
            ("uuid", "name") if wanted.is_per_domain else ("''",) * 2
        )

    def read(self) -> Found:
        """Return what the range contains.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        domains = self._domains()
        for (number, uuid, *key), (core_s,) in self._details(*DETAILS[0]):
            step = Step(Activity(key[0]), *key[1:])
            domains[number, uuid].residency[step] = core_s
        for (number, uuid, cause), (requests,) in self._details(*DETAILS[1]):
            domains[number, uuid].refusals[cause] = int(requests)
        for (number, uuid, cause), times in self._details(*DETAILS[2]):
            domains[number, uuid].holds[HoldCause(cause)] = HoldTime(*times)
        return Found(self._hosts(), list(domains.values()), self._events())

    def _query(self, columns: str, tables: str, groups: str) -> sqlite3.Cursor:
        wanted = self._wanted
        values: list[object] = [wanted.since_s, wanted.step_s]
        where = "start_s >= ? AND start_s < ?"
        values += [wanted.since_s, wanted.until_s]
        if wanted.uuids and "domain" in tables:
            where += f" AND uuid IN ({', '.join('?' * len(wanted.uuids))})"
            values += sorted(wanted.uuids)
        part = "CAST((start_s - ?) / ? AS INTEGER) AS part"
        return self._connection.execute(
            f"SELECT {part}, {columns} FROM {tables} WHERE {where} GROUP BY {groups}"
            " ORDER BY part",
            values,
        )

    def _hosts(self) -> list[HostPart]:
        sums = ", ".join(f"SUM({name})" for name in HOST_SUMS)
        rows = self._query(
            f"SUM(duration_s), MAX(source), MIN(is_calibrated), SUM(holes), {sums}",
            "interval",
            "part",
        )
        return [
            HostPart(part, seconds, _source(source), bool(calibrated), holes, *joules)
            for part, seconds, source, calibrated, holes, *joules in rows
        ]

    def _domains(self) -> dict[tuple[int, str], DomainPart]:
        sums = ", ".join(f"SUM(domain_interval.{name})" for name in DOMAIN_SUMS)
        rows = self._query(
            f"{self._uuid}, {self._name}, SUM(duration_s), MAX(has_energy), {sums}",
            _joined("domain_interval"),
            f"part, {self._uuid}",
        )
        found = {}
        for part, uuid, name, seconds, has_energy, *values in rows:
            counts, joules = map(int, values[:4]), values[4:]
            found[part, uuid] = DomainPart(
                *(part, uuid, name, seconds, bool(has_energy)),
                *(Requests(*counts), *joules, {}, {}, {}),
            )
        return found

    def _details(
        self, table: str, keys: tuple[str, ...], sums: tuple[str, ...]
    ) -> Iterator[tuple[tuple[Any, ...], tuple[float, ...]]]:
        names = ", ".join(keys)
        summed = ", ".join(f"SUM({table}.{name})" for name in sums)
        rows = self._query(
            f"{self._uuid}, {names}, {summed}",
            _joined(table),
            f"part, {self._uuid}, {names}",
        )
        for row in rows:
            split = len(row) - len(sums)
            yield tuple(row[:split]), tuple(row[split:])

    def _events(self) -> dict[str, int]:
        rows = self._connection.execute(
            "SELECT kind, COUNT(*) FROM event WHERE at_s >= ? AND at_s < ?"
            " GROUP BY kind",
            (self._wanted.since_s, self._wanted.until_s),
        )
        return dict(rows)


def _joined(table: str) -> str:
    return (
        f"{table} JOIN interval ON interval.id = {table}.interval"
        f" JOIN domain ON domain.id = {table}.domain"
    )


def _source(text: str | None) -> str | None:
    return None if text is None else MeterSource(text).value
