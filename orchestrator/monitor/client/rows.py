"""Which row of the shared table belongs to whom: main's book-keeping."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from orchestrator.errors import HandoffError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

Key = TypeVar("Key", bound="Hashable")


class Rows(Generic[Key]):
    """Rows of one kind, each lent to a key.

    A row that was given back waits behind all others until it is lent again, so that
    the monitor has cleared it long before.

    Synchronization: main's thread.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._unused = 0
        self._returned: deque[int] = deque()
        self._rows: dict[Key, int] = {}

    def lend(self, key: Key) -> int:
        """Return the key's row; the same one until it is given back.

        Raises:
            HandoffError: there are no rows left.
        """
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._next()
        return row

    def find(self, key: Key) -> int | None:
        """Return the row that is lent to a key."""
        return self._rows.get(key)

    def _next(self) -> int:
        if self._unused < self._count:
            self._unused += 1
            return self._unused - 1
        if not self._returned:
            raise HandoffError(f"all {self._count} rows of the shared table are in use")
        return self._returned.popleft()

    def give_back(self, is_gone: Callable[[Key], bool]) -> list[int]:
        """Take back the rows of all keys that are gone, and return them."""
        keys = [key for key in self._rows if is_gone(key)]
        rows = [self._rows.pop(key) for key in keys]
        self._returned.extend(rows)
        return rows

    def returned(self) -> Iterator[int]:
        """Iterate over the rows that were given back and are not lent."""
        return iter(self._returned)

    def items(self) -> Iterator[tuple[Key, int]]:
        """Iterate over keys and their rows."""
        return iter(self._rows.items())
