# SPDX-License-Identifier: Apache-2.0
"""The journal of attributes that vmpowerd holds at other values.

Its format is that of the restore journal. An attribute has one entry for each value of
vmpowerd that it may show, so that after a crash at any point these are recognized.
Restoring them is up to `held_values`. Limits and other attributes each have a file,
`limit_journal` and `attribute_journal`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.power.group import Original
from orchestrator.power.journal import Journal
from orchestrator.power.sysfs import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.power.journal_document import Document
    from orchestrator.power.replay import Replay


class HeldValue(NamedTuple):
    """An attribute that vmpowerd has written."""

    original: bytes
    """All bytes of it before vmpowerd wrote it, or that another program wrote since."""
    ours: tuple[str, ...]
    """The values of vmpowerd that it may show; what was written last is the last."""

    def covers(self, other: HeldValue) -> bool:
        """Return whether an entry of this is sufficient to restore the other."""
        is_same = (self.original, self.ours[-1]) == (other.original, other.ours[-1])
        return is_same and {*other.ours} <= {*self.ours}


class HeldJournal(Journal, ABC):
    """A journal of held attributes; see `Journal` for synchronization.

    Subclasses say which attributes, and what their values are.
    """

    @abstractmethod
    def _number_of(self, path: str) -> int:
        """Return the number that the entries of an attribute are under."""

    def _is_valid(self, value: str) -> bool:
        """Whether an attribute can have a value."""
        del value
        return True

    def _decode(self, data: bytes) -> Document:
        document = super()._decode(data)
        for original in (it for group in document.groups.values() for it in group):
            for value in map(first_line, (original.value, original.taken_value)):
                if not self._is_valid(value):
                    raise ValueError(f"invalid value {value!r} of {original.path}")
        return document

    def load(self) -> tuple[dict[str, HeldValue], Replay[int]]:
        """Read what a previous run has left, by path.

        A journal that cannot be used, of another boot or tree, is set aside.

        Raises:
            JournalError: it cannot be read.
        """
        self._discard_partial()
        groups, aside = self._read_or_set_aside()
        held: dict[str, HeldValue] = {}
        for number, originals in groups.items():
            if self._is_replaced(number):
                continue
            for original in originals:
                known = held.get(original.path, HeldValue(original.value, ()))
                own = original.taken_value.decode("latin-1")
                held[original.path] = known._replace(ours=(*known.ours, own))
        return held, aside

    def write(self, held: Mapping[str, HeldValue]) -> None:
        """Replace the journal, and return when it is on disk.

        Raises:
            JournalError: it is not; no attribute may be written.
        """
        groups: dict[int, tuple[Original, ...]] = {}
        for path, value in sorted(held.items()):
            number = self._number_of(path)
            groups[number] = groups.get(number, ()) + tuple(
                Original(
                    path=path, value=value.original, taken_value=own.encode("latin-1")
                )
                for own in value.ours
            )
        self._store(groups)
