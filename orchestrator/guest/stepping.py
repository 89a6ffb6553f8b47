# SPDX-License-Identifier: Apache-2.0
"""Decides on frequency steps from a vCPU's load: up at once, down slowly. Pure.

Theory of operation: one sample above the upper threshold requests the highest step;
only several samples below the lower one in a row request one step down. Between the two
nothing changes: after a step down the same work is a higher load, and the gap has room
for that. If the load is high again soon after a step down, the next one takes twice as
many samples, so that a load between two steps does not alternate between them forever.

A polling application is different: its load is known exactly (see `guest.telemetry`),
is inversely proportional to the frequency, and has to stay low for the sake of bursts.
There, a load a bit too high requests one step up, and only a high one the highest. At
each step below the highest it has to be a bit lower: bursts need not be slower because
the traffic around them is, and the lower the frequency, the less a step costs.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.channel.protocol import Unit

_LEAST_SHARE = 0.25
MAX_STEPS = 40
"""No CPU has more steps; after so many in a row no more are requested."""


class Thresholds(NamedTuple):
    """When the frequency follows the load."""

    up_above: float = 0.8
    """Load from which the highest step is requested."""
    down_below: float = 0.4
    """Load below which a step down is considered."""
    climb_above: float = 1.0
    """Load from which one step up is requested; from `up_above` on, the highest."""
    down_after_samples: int = 5
    """Low samples in a row before a step down."""
    max_down_after_samples: int = 160
    """The most that reverted steps can increase it to."""
    reverted_within_samples: int = 20
    """A step down is reverted if the load is high within so many samples."""
    lower_by_step: float = 0.0
    """Share by which `climb_above` and `down_below` are lower for each step below the
    highest."""

    def at(self, steps_down: int) -> tuple[float, float]:
        """Return the loads from which a step up, and below which one down is due."""
        share = max(_LEAST_SHARE, 1 - self.lower_by_step * steps_down)
        return self.climb_above * share, self.down_below * share


POLLING_INTERVAL_S = 0.1
"""Between samples of polling vCPUs."""
POLLING = Thresholds(
    up_above=0.7,
    down_below=0.41,
    down_after_samples=2,
    max_down_after_samples=64,
    reverted_within_samples=8,
    climb_above=0.5,
    lower_by_step=0.035,
)
"""For applications that poll: more than half of the time stays free for bursts. Found
with `python -m bench --only saving`."""


class StepState(NamedTuple):
    """The state of one vCPU; initially at the highest step."""

    low: int = 0
    """Low samples in a row."""
    required: int = 0
    """Low samples required for the next step down; 0: the normal number."""
    steps_down: int = 0
    """Steps below the highest."""
    since_step: int = 0
    """Samples since the last step down."""


class Decision(NamedTuple):
    """The change to request, and the state if it succeeds."""

    state: StepState
    unit: Unit | None
    """None: no change."""


def decide(load: float, state: StepState, thresholds: Thresholds) -> Decision:
    """Decide on a change after one sample of a vCPU's load."""
    state = state._replace(since_step=state.since_step + 1)
    if load >= thresholds.up_above:
        return _step_up(state, thresholds)
    climb_above, down_below = thresholds.at(state.steps_down)
    if load >= climb_above and state.steps_down:
        return _climb(state)
    if load >= down_below:
        return Decision(state._replace(low=0), None)
    return _step_down(state, thresholds)


def _step_up(state: StepState, thresholds: Thresholds) -> Decision:
    if not state.steps_down:
        return Decision(state._replace(low=0), None)
    required = 0
    if state.since_step <= thresholds.reverted_within_samples:
        required = min(
            2 * _required_samples(state, thresholds), thresholds.max_down_after_samples
        )
    return Decision(StepState(required=required), Unit.SCALE_MAX)


def _climb(state: StepState) -> Decision:
    climbed = StepState(required=state.required, steps_down=state.steps_down - 1)
    return Decision(climbed, Unit.SCALE_UP)


def _step_down(state: StepState, thresholds: Thresholds) -> Decision:
    low = state.low + 1
    if low < _required_samples(state, thresholds) or state.steps_down >= MAX_STEPS:
        return Decision(state._replace(low=low), None)
    return Decision(
        StepState(required=state.required, steps_down=state.steps_down + 1),
        Unit.SCALE_DOWN,
    )


def _required_samples(state: StepState, thresholds: Thresholds) -> int:
    return state.required or thresholds.down_after_samples
