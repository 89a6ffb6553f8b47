# SPDX-License-Identifier: Apache-2.0
"""Allocates the rows of the shared table."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from orchestrator.errors import HandoffError

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Iterator

    from orchestrator.values.domain import DomainId

Key = TypeVar("Key", bound="Hashable")


class RowAllocator(Generic[Key]):
    """Allocates the rows of one kind to keys.

    Freed rows are reused last and in order, so that the monitor has long cleared them
    by then.

    Synchronization: main's thread.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._unused = 0
        self._freed: deque[int] = deque()
        self._rows: dict[Key, int] = {}

    def allocate(self, key: Key) -> int:
        """Return the key's row; it stays the same until it is freed.

        Raises:
            HandoffError: no rows are left.
        """
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._next()
        return row

    def find(self, key: Key) -> int | None:
        """Return the row of a key; None: it has none."""
        return self._rows.get(key)

    def _next(self) -> int:
        if self._unused < self._count:
            self._unused += 1
            return self._unused - 1
        if not self._freed:
            raise HandoffError(f"shared table full: all {self._count} rows are in use")
        return self._freed.popleft()

    def free(self, key: Key) -> int:
        """Free the row of a key, and return it.

        Raises:
            KeyError: it has none.
        """
        row = self._rows.pop(key)
        self._freed.append(row)
        return row

    def rows(self) -> Iterator[int]:
        """Iterate over the rows in use."""
        return iter(self._rows.values())

    def items(self) -> Iterator[tuple[Key, int]]:
        """Iterate over keys and their rows."""
        return iter(self._rows.items())


class DomainRows:
    """Allocates the rows of one kind to what domains have numbered: vCPUs, channels.

    The rows of one domain are found without a search through those of all others.

    Synchronization: main's thread.
    """

    def __init__(self, count: int) -> None:
        self._allocator: RowAllocator[tuple[DomainId, int]] = RowAllocator(count)
        self._rows: dict[DomainId, dict[int, int]] = {}

    def allocate(self, uuid: DomainId, number: int) -> int:
        """Return the row of a domain's number; it stays the same until it is freed.

        Raises:
            HandoffError: no rows are left.
        """
        row = self._allocator.allocate((uuid, number))
        self._rows.setdefault(uuid, {})[number] = row
        return row

    def find(self, uuid: DomainId, number: int) -> int | None:
        """Return the row of a domain's number; None: it has none."""
        return self._allocator.find((uuid, number))

    def free(self, uuid: DomainId, kept: Container[int] = ()) -> list[int]:
        """Free the rows of a domain, except those of some numbers; return them."""
        rows = self._rows.get(uuid, {})
        gone = [number for number in rows if number not in kept]
        freed = [self._allocator.free((uuid, number)) for number in gone]
        for number in gone:
            del rows[number]
        if not rows:
            self._rows.pop(uuid, None)
        return freed

    def of(self, uuid: DomainId) -> Iterator[tuple[int, int]]:
        """Iterate over the numbers of a domain and their rows."""
        return iter(self._rows.get(uuid, {}).items())

    def rows(self) -> Iterator[int]:
        """Iterate over the rows in use."""
        return self._allocator.rows()

    def items(self) -> Iterator[tuple[tuple[DomainId, int], int]]:
        """Iterate over domains with numbers and their rows."""
        return self._allocator.items()
