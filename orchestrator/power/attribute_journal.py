# SPDX-License-Identifier: Apache-2.0
"""The journal of the attributes that main holds at a value.

Its format is that of the restore journal, in a file of its own, because these
attributes are held independently of governors and limits. Entries are under the number
of the CPU or of the clock group that the attribute belongs to, or 0. An attribute has
one entry for each value of vmpowerd that it may show, so that after a crash at any
point its own values are recognized. Restoring them is up to `held_attributes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.power.attribute_kinds import kind_of
from orchestrator.power.group import Original
from orchestrator.power.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.power.journal import Replay

ATTRIBUTE_JOURNAL_NAME = "attributes.json"
"""File name in a daemon's run directory, beside the restore journal."""


class HeldAttribute(NamedTuple):
    """An attribute that vmpowerd has written."""

    original: bytes
    """All bytes of it before."""
    ours: tuple[str, ...]
    """The values of vmpowerd that it may show: what was last written, and others."""

    def covers(self, other: HeldAttribute) -> bool:
        """Return whether an entry of this is sufficient to restore the other."""
        return self.original == other.original and {*other.ours} <= {*self.ours}


class AttributeJournal(Journal):
    """The journal of held attributes; see `Journal` for synchronization."""

    def _is_permitted(self, number: int, path: str) -> bool:
        try:
            kind = kind_of(path)
        except KeyError:
            return False
        return kind.has(path) and kind.number_of(path) == number

    def _read_driver(self, number: int) -> str:
        """Return nothing: an attribute need not belong to a scaling driver."""
        del number
        return ""

    def load(self) -> tuple[dict[str, HeldAttribute], Replay]:
        """Read what a previous run has left, by path.

        A journal that cannot be used, of another boot or tree, is set aside.

        Raises:
            JournalError: it cannot be read.
        """
        self._discard_partial()
        groups, aside = self._read_or_set_aside()
        held: dict[str, HeldAttribute] = {}
        for original in (each for group in groups.values() for each in group):
            ours = held[original.path].ours if original.path in held else ()
            own = original.taken_value.decode("latin-1")
            held[original.path] = HeldAttribute(original.value, (*ours, own))
        return held, aside

    def write(self, held: Mapping[str, HeldAttribute]) -> None:
        """Replace the journal, and return when it is on disk.

        Raises:
            JournalError: it is not; no attribute may be written.
        """
        groups: dict[int, tuple[Original, ...]] = {}
        for path, attribute in sorted(held.items()):
            number = kind_of(path).number_of(path)
            groups[number] = groups.get(number, ()) + tuple(
                Original(
                    path=path,
                    value=attribute.original,
                    taken_value=own.encode("latin-1"),
                )
                for own in attribute.ours
            )
        self._store(groups)
