# SPDX-License-Identifier: Apache-2.0
"""The journal of the kernel's limits that vmpowerd has narrowed.

It is a separate file, because limits live longer than a taken governor: from the
start of a domain to its end.
"""

from __future__ import annotations

from orchestrator.power.held_journal import HeldJournal
from orchestrator.power.journal_document import is_attribute_of
from orchestrator.power.kernel_limits import ATTRIBUTES
from orchestrator.power.sysfs import policy_number

LIMIT_JOURNAL_NAME = "limits.json"
"""File name in a daemon's run directory, beside the restore journal."""


class LimitJournal(HeldJournal):
    """The journal of narrowed limits; entries are under the clock group's number."""

    def _is_permitted(self, number: int, path: str) -> bool:
        return is_attribute_of(number, path, ATTRIBUTES)

    def _number_of(self, path: str) -> int:
        return policy_number(path)

    def _is_valid(self, value: str) -> bool:
        return value.isascii() and value.isdigit()
