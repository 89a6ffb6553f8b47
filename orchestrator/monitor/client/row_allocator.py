# SPDX-License-Identifier: Apache-2.0
"""Allocates the rows of the shared table."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from orchestrator.errors import HandoffError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

Key = TypeVar("Key", bound="Hashable")


class RowAllocator(Generic[Key]):
    """Allocates the rows of one kind to keys.

    Freed rows are reused last and in order, so that the monitor has long cleared them
    by
    then.

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

    def free(self, is_gone: Callable[[Key], bool]) -> list[int]:
        """Free the rows of all keys that are gone, and return them."""
        keys = [key for key in self._rows if is_gone(key)]
        rows = [self._rows.pop(key) for key in keys]
        self._freed.extend(rows)
        return rows

    def rows(self) -> Iterator[int]:
        """Iterate over the rows in use."""
        return iter(self._rows.values())

    def items(self) -> Iterator[tuple[Key, int]]:
        """Iterate over keys and their rows."""
        return iter(self._rows.items())
