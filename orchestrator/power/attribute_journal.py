# SPDX-License-Identifier: Apache-2.0
"""The journal of the attributes of `attribute_kinds` that vmpowerd holds at a value.

It is a separate file, because these attributes are held independently of governors
and limits.
"""

from __future__ import annotations

from orchestrator.power.attribute_kinds import kind_of
from orchestrator.power.held_journal import HeldJournal

ATTRIBUTE_JOURNAL_NAME = "attributes.json"
"""File name in a daemon's run directory, beside the restore journal."""


class AttributeJournal(HeldJournal):
    """The journal of held attributes.

    Entries are under the number of the CPU or of the clock group that the attribute
    belongs to, or 0.
    """

    def _is_permitted(self, number: int, path: str) -> bool:
        try:
            kind = kind_of(path)
        except KeyError:
            return False
        return kind.has(path) and kind.number_of(path) == number

    def _number_of(self, path: str) -> int:
        return kind_of(path).number_of(path)

    def _read_driver(self, number: int) -> str:
        """Return nothing: an attribute need not belong to a scaling driver."""
        del number
        return ""
