# SPDX-License-Identifier: Apache-2.0
"""What became of held attributes, as values that `held_attributes` returns."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """What became of an attribute of which a value is wanted."""

    HELD = "held"
    """It has the value."""
    SUFFICIENT = "sufficient"
    """It had the value, or a stricter one, without vmpowerd."""
    LEFT = "left"
    """Another program has changed it since; it is left as it is."""
    ABSENT = "absent"
    """There is no such attribute."""
    SUSPENDED = "suspended"
    """It is left alone while its clock group is taken."""
    REFUSED = "refused"
    """It cannot be written now."""
    RELEASED = "released"
    """It is no longer wanted, and has its original value, or another program's."""


class AttributeState(NamedTuple):
    """One attribute, as it was last read or written."""

    outcome: Outcome
    value: str = ""
    """What the kernel shows; empty: not known."""
    problem: str = ""
    """Why it was refused, for people."""
    effect: tuple[str, ...] = ()
    """What the value permits, such as idle states; empty: not known."""
