# SPDX-License-Identifier: Apache-2.0
"""What a policy can want for a vCPU, and which of its steps that is.

Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.limits import Window


class Level(StrEnum):
    """A want that is not a frequency."""

    MAX = "max"
    """The highest step."""
    MED = "med"
    """The step nearest to the middle of the frequencies."""
    MIN = "min"
    """The lowest step."""
    AS_IS = "as-is"
    """The same as before; nothing, if there was nothing before."""
    NO_VOTE = "no-vote"
    """Nothing: the policy knows nothing, or has no preference now."""


Want = Level | int
"""A level, or kHz."""


def resolve_khz(want: Want, window: Window, current_khz: int | None) -> int | None:
    """Turn a want into a step.

    Args:
        want: of a policy.
        window: the steps that the vCPU may have.
        current_khz: the step that it wanted before; None: it had no vote.

    Returns:
        One of the steps; None: no vote.
    """
    match want:
        case Level.MAX:
            return window.high_khz
        case Level.MED:
            return window.middle_khz
        case Level.MIN:
            return window.low_khz
        case Level.NO_VOTE:
            return None
        case Level.AS_IS:
            return None if current_khz is None else window.fit(current_khz)
        case _:
            return window.fit(want)
