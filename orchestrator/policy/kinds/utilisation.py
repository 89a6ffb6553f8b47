# SPDX-License-Identifier: Apache-2.0
"""By load: for guests without an agent, which sleep when they have nothing to do.

Pure. Up at once, down step by step and only after several low samples: being slow for a
second costs packets, being fast for a second costs some watts. A guest that polls is
always busy, and always gets the highest step here.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from orchestrator.policy.kinds.contract import Decision, Policy, PolicyKind
from orchestrator.policy.kinds.option import Problem, option, period
from orchestrator.policy.kinds.want import Level
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.policy.kinds.contract import PolicyView, VCpuSample
    from orchestrator.policy.kinds.option import Spelling
    from orchestrator.policy.kinds.want import Want

SHORTEST_PERIOD_S = 0.1
"""QEMU's vCPU times advance in ticks of 10 ms, and each sample is a libvirt call."""


class StepState(NamedTuple):
    """What is remembered of one vCPU."""

    khz: int
    """The step that it has."""
    low_samples: int
    """Consecutive low samples since it last changed."""


Steps = MappingProxyType[int, StepState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilisation(Policy[float, Steps]):
    """By the load of each vCPU; for guests that sleep when they are idle."""

    kind: ClassVar[PolicyKind] = PolicyKind("utilisation")
    sample: ClassVar[SampleKind | None] = SampleKind.VCPU_TIME

    up_above: float = option(
        0.8,
        "Share of time from which a vCPU gets the highest frequency at once.",
        least=0,
        most=1,
    )
    down_below: float = option(
        0.5,
        "Share of time below which a vCPU goes down by a step.",
        least=0,
        most=1,
    )
    down_after_samples: int = option(
        3,
        "Consecutive samples that must be low for each step down.",
        least=1,
        alias="calm_samples",
    )
    period_s: float = period(1.0, least_s=SHORTEST_PERIOD_S)

    def problems(self, spell: Spelling) -> Iterator[Problem]:
        """Yield thresholds in the wrong order."""
        if self.down_below > self.up_above:
            above = f"{self.down_below} is above {spell('up_above')} {self.up_above}"
            yield Problem("down_below", above)

    def begin(self) -> Steps:
        """Nothing is known of any vCPU."""
        return MappingProxyType({})

    def decide(
        self, view: PolicyView[float], memory: Mapping[int, StepState]
    ) -> Decision[Steps]:
        """Decide for each vCPU by itself; unknown ones get no vote."""
        wants: dict[int, Want] = {it.vcpu: Level.NO_VOTE for it in view.vcpus}
        states: dict[int, StepState] = {}
        for sample in view.vcpus:
            if sample.value is not None:
                top = StepState(sample.window.high_khz, 0)
                before = memory.get(sample.vcpu, top)
                state = self._next(sample, sample.value, before)
                states[sample.vcpu] = state
                wants[sample.vcpu] = state.khz
        return Decision(wants, MappingProxyType(states))

    def _next(
        self, sample: VCpuSample[float], load: float, state: StepState
    ) -> StepState:
        khz = sample.window.fit(state.khz)
        if load >= self.up_above:
            return StepState(sample.window.high_khz, 0)
        if load >= self.down_below:
            return StepState(khz, 0)
        if state.low_samples + 1 < self.down_after_samples:
            return StepState(khz, state.low_samples + 1)
        return StepState(sample.window.step_down(khz), 0)
