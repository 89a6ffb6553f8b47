"""What a policy can want for a vCPU, and which step of its table that is.

Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Level(StrEnum):
    """A want that is not a frequency."""

    MAX = "max"
    """The highest step."""
    MED = "med"
    """The step nearest to the middle of the frequencies."""
    MIN = "min"
    """The lowest step."""
    AS_IS = "as-is"
    """The same as before."""
    NO_VOTE = "no-vote"
    """Nothing: the policy knows nothing, or has no preference now."""


Want = Level | int
"""A level, or kHz."""


def middle_khz(steps_khz: Sequence[int]) -> int:
    """Return the step nearest to the middle between the lowest and the highest.

    The middle of the frequencies, not of the table, so that it is the same for tables
    that are denser at one end. Of two that are equally near, the higher.

    Args:
        steps_khz: descending, at least one.
    """
    twice = steps_khz[0] + steps_khz[-1]
    return min(steps_khz, key=lambda khz: abs(2 * khz - twice))


def resolve_khz(
    want: Want, steps_khz: Sequence[int], current_khz: int | None
) -> int | None:
    """Turn a want into a step.

    Args:
        want: of a policy.
        steps_khz: descending, at least one.
        current_khz: the step that it wanted before; None: it had no vote.

    Returns:
        One of the steps; None: no vote.
    """
    match want:
        case Level.MAX:
            return steps_khz[0]
        case Level.MED:
            return middle_khz(steps_khz)
        case Level.MIN:
            return steps_khz[-1]
        case Level.NO_VOTE:
            return None
        case Level.AS_IS:
            return None if current_khz is None else round_up(current_khz, steps_khz)
        case _:
            return round_up(want, steps_khz)


def round_up(khz: int, steps_khz: Sequence[int]) -> int:
    """Return the lowest step that is not below `khz`, else the highest."""
    return min((step for step in steps_khz if step >= khz), default=steps_khz[0])


def step_down(khz: int, steps_khz: Sequence[int]) -> int:
    """Return the highest step below `khz`, else the lowest."""
    return max((step for step in steps_khz if step < khz), default=steps_khz[-1])
