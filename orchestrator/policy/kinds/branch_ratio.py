"""By mispredicted branches: a poll that finds nothing repeats itself, and is predicted.

Pure.
Source: examples/vm_power_manager/oob_monitor_x86.c of DPDK: one sample with too many
misses means the highest clock at once, and only a whole window without one the lowest.
Two things are different. A CPU without any misses is idle here and not skipped; and
the time of a sample is ours, so that "too few branches to judge by" is a rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy
from orchestrator.policy.kinds.want import Level
from orchestrator.policy.rule import PolicyKind
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.policy.kinds.contract import PolicyView
    from orchestrator.policy.kinds.want import Want
    from orchestrator.sampling.branches import BranchCount

WINDOW = 32
"""Samples in a row without a high one that make a CPU idle."""
FEWEST_BRANCHES_PER_S = 100_000_000
"""Below it a CPU is idle whatever its ratio: 10000 in 100 us, as DPDK has it."""
THRESHOLD_PERCENT = 0.1

Calm = MappingProxyType[int, int]
"""How many samples in a row were low, by vCPU; at most WINDOW."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRatio(Policy["BranchCount", Calm]):
    """A threshold, and a window against oscillation."""

    kind: ClassVar[PolicyKind] = PolicyKind.BRANCH_RATIO
    sample: ClassVar[SampleKind | None] = SampleKind.BRANCHES

    threshold_percent: float = THRESHOLD_PERCENT
    """Misses in a hundred branches above which a CPU works."""
    window: int = WINDOW
    fewest_branches_per_s: float = FEWEST_BRANCHES_PER_S
    period_s: float = 0.01

    def begin(self) -> Calm:
        """No vCPU has been calm yet."""
        return MappingProxyType({})

    def decide(
        self, view: PolicyView[BranchCount], memory: Mapping[int, int]
    ) -> Decision[Calm]:
        """Want the lowest step of each vCPU that was idle for a whole window."""
        wants: dict[int, Want] = {}
        calm: dict[int, int] = {}
        for sight in view.vcpus:
            if sight.value is None:
                wants[sight.vcpu] = Level.NO_VOTE
                continue
            so_far = memory.get(sight.vcpu, 0)
            calm[sight.vcpu] = (
                0 if self.is_busy(sight.value) else min(so_far + 1, self.window)
            )
            is_idle = calm[sight.vcpu] >= self.window
            wants[sight.vcpu] = Level.MIN if is_idle else Level.MAX
        return Decision(wants, MappingProxyType(calm))

    def is_busy(self, count: BranchCount) -> bool:
        """Tell whether one sample is that of a CPU with work."""
        if count.branches < self.fewest_branches_per_s * count.elapsed_s:
            return False
        return 100 * count.misses > self.threshold_percent * count.branches
