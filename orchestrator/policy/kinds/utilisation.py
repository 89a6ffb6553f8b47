"""By load: for guests that know nothing of us, and sleep when they have nothing to do.

Pure. Up in one leap, down step by step and only after several calm looks: being slow
for a second costs packets, being fast for a second costs some watts. A guest that polls
is always busy, and always gets the highest step here.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from orchestrator.policy.kinds.contract import Decision, Policy
from orchestrator.policy.kinds.want import Level, round_up, step_down
from orchestrator.policy.rule import PolicyKind
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.policy.kinds.contract import PolicyView, VCpuSample
    from orchestrator.policy.kinds.want import Want


class Pace(NamedTuple):
    """What is remembered of one vCPU."""

    khz: int
    """The step that it was given."""
    calm: int
    """How many looks in a row found it low since it last changed."""


Paces = MappingProxyType[int, Pace]


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilisation(Policy[float, Paces]):
    """Two thresholds and patience."""

    kind: ClassVar[PolicyKind] = PolicyKind.UTILISATION
    sample: ClassVar[SampleKind | None] = SampleKind.VCPU_TIME

    up_above: float = 0.8
    """From this part of the time on: the highest step at once."""
    down_below: float = 0.5
    """Below this part of the time: a step down, after `calm_samples` looks."""
    calm_samples: int = 3
    period_s: float = 1.0

    def begin(self) -> Paces:
        """Nothing is known of any vCPU."""
        return MappingProxyType({})

    def decide(
        self, view: PolicyView[float], memory: Mapping[int, Pace]
    ) -> Decision[Paces]:
        """Look at each vCPU for itself; unknown ones are not voted for."""
        wants: dict[int, Want] = {sight.vcpu: Level.NO_VOTE for sight in view.vcpus}
        paces: dict[int, Pace] = {}
        for sight in view.vcpus:
            if sight.value is not None:
                top = Pace(sight.steps_khz[0], 0)
                pace = self._next(sight, sight.value, memory.get(sight.vcpu, top))
                paces[sight.vcpu] = pace
                wants[sight.vcpu] = pace.khz
        return Decision(wants, MappingProxyType(paces))

    def _next(self, sight: VCpuSample[float], utilisation: float, pace: Pace) -> Pace:
        khz = round_up(pace.khz, sight.steps_khz)
        if utilisation >= self.up_above:
            return Pace(sight.steps_khz[0], 0)
        if utilisation >= self.down_below:
            return Pace(khz, 0)
        if pace.calm + 1 < self.calm_samples:
            return Pace(khz, pace.calm + 1)
        return Pace(step_down(khz, sight.steps_khz), 0)
