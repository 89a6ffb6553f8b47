"""What a vCPU's load says about its clock: fast up, slow down. Pure.

Theory of operation: one busy sample asks for the highest step at once; only a run of
calm samples takes one step down. Between the two thresholds nothing changes: a step
down makes the same work a larger load, and the gap has room for that. A step down that
had to be taken back soon makes the next one wait twice as long, so that a load that
lies between two steps does not swing between them for ever.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.channel.protocol import Unit

MOST_STEPS = 40
"""No clock has more steps; after so many in a row nothing more is asked."""


class Pace(NamedTuple):
    """How readily the clock follows the load."""

    busy_load: float = 0.8
    """From this load on a vCPU wants the highest step."""
    calm_load: float = 0.4
    """Below this load a vCPU could do with less."""
    calm_samples: int = 5
    """So many calm samples in a row make a step down."""
    most_calm_samples: int = 160
    """The most that steps taken back can make of it."""
    regret_samples: int = 20
    """A step down was wrong if the vCPU is busy within so many samples."""


class Stride(NamedTuple):
    """What is remembered of one vCPU; it starts at the highest step."""

    calm: int = 0
    """Calm samples in a row."""
    needed: int = 0
    """Calm samples that the next step down takes; 0: as many as usual."""
    steps_down: int = 0
    """Steps taken since the highest."""
    since_step: int = 0
    """Samples since the last step down."""


class Decision(NamedTuple):
    """What is asked for, and what is remembered if that succeeds."""

    stride: Stride
    unit: Unit | None
    """None: the clock is right."""


def decide(load: float, stride: Stride, pace: Pace) -> Decision:
    """Decide what one sample of a vCPU's load asks for."""
    stride = stride._replace(since_step=stride.since_step + 1)
    if load >= pace.busy_load:
        return _hurry(stride, pace)
    if load >= pace.calm_load:
        return Decision(stride._replace(calm=0), None)
    return _calm_down(stride, pace)


def _hurry(stride: Stride, pace: Pace) -> Decision:
    if not stride.steps_down:
        return Decision(stride._replace(calm=0), None)
    needed = 0
    if stride.since_step <= pace.regret_samples:
        needed = min(2 * _needed(stride, pace), pace.most_calm_samples)
    return Decision(Stride(needed=needed), Unit.SCALE_MAX)


def _calm_down(stride: Stride, pace: Pace) -> Decision:
    calm = stride.calm + 1
    if calm < _needed(stride, pace) or stride.steps_down >= MOST_STEPS:
        return Decision(stride._replace(calm=calm), None)
    return Decision(
        Stride(needed=stride.needed, steps_down=stride.steps_down + 1),
        Unit.SCALE_DOWN,
    )


def _needed(stride: Stride, pace: Pace) -> int:
    return stride.needed or pace.calm_samples
