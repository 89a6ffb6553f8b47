# SPDX-License-Identifier: Apache-2.0
"""Places at a socket, shared so that no user locks out the others.

Theory of operation: a user may hold a fraction of all places, and as many are reserved
for root and the daemon's own user. If the rest are held, a user gets the oldest place
of the user that holds the most, as long as that leaves the other one no fewer places
than the newcomer. So several users that hold all they may do not keep another out.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_HolderT = TypeVar("_HolderT", bound="Hashable")


class Places(Generic[_HolderT]):
    """A limited number of places, each held by one holder of one user.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        total: int,
        *,
        per_user: int,
        own_uid: int,
        end: Callable[[_HolderT], None],
    ) -> None:
        """Begin with all places free.

        Args:
            total: how many there are.
            per_user: how many one user may hold, except root and `own_uid`; as many
                are reserved for these two.
            own_uid: the daemon's user.
            end: ends a holder, whose place another user gets.
        """
        self._total = total
        self._per_user = per_user
        self._privileged = frozenset({0, own_uid})
        self._end = end
        self._uids: dict[_HolderT, int] = {}  # in the order of arrival

    def __len__(self) -> int:
        """Return how many places are held."""
        return len(self._uids)

    def take(self, holder: _HolderT, uid: int) -> bool:
        """Give a place to a new holder, if its user may have one."""
        if not self._make_room(uid):
            return False
        self._uids[holder] = uid
        return True

    def leave(self, holder: _HolderT) -> None:
        """Free the place of a holder, which need not have one."""
        self._uids.pop(holder, None)

    def _make_room(self, uid: int) -> bool:
        if uid in self._privileged:
            return len(self) < self._total
        held = Counter(self._uids.values())
        if held[uid] >= self._per_user:
            return False
        if len(self) < self._total - self._per_user:
            return True
        others = [each for each in held if each not in self._privileged]
        most = max(others, key=held.__getitem__, default=uid)
        if held[most] <= held[uid] + 1:
            return False
        oldest = next(each for each, owner in self._uids.items() if owner == most)
        self.leave(oldest)
        self._end(oldest)
        return True
