# SPDX-License-Identifier: Apache-2.0
"""By mispredicted branches: a polling loop that finds nothing repeats itself.

Pure.
Source: examples/vm_power_manager/oob_monitor_x86.c of DPDK: one sample with too many
misses gives the highest frequency at once, and only a whole window without one gives
the lowest. Two things are different. A CPU without any misses is idle here and not
skipped; and the time of a sample is measured, so that "too few branches to judge by" is
a rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy, PolicyKind
from orchestrator.policy.kinds.option import option, period
from orchestrator.policy.kinds.want import Level
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.policy.kinds.contract import PolicyView
    from orchestrator.policy.kinds.want import Want
    from orchestrator.sampling.branches import BranchCount

WINDOW = 32
"""Consecutive samples with few misses after which a CPU is idle."""
FEWEST_BRANCHES_PER_S = 100_000_000
"""Below it a CPU is idle whatever its ratio: 10000 in 100 us, as in DPDK."""

LowSamples = MappingProxyType[int, int]
"""How many consecutive samples had few misses, by vCPU; at most WINDOW."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRatio(Policy["BranchCount", LowSamples]):
    """By mispredicted branches: a polling loop without work has almost none."""

    kind: ClassVar[PolicyKind] = PolicyKind("branch-ratio")
    sample: ClassVar[SampleKind | None] = SampleKind.BRANCHES

    threshold_percent: float = option(
        0.1,
        "Percentage of mispredicted branches above which a vCPU gets the highest"
        " frequency.",
        least=0,
        most=100,
    )
    window: int = WINDOW
    fewest_branches_per_s: float = FEWEST_BRANCHES_PER_S
    period_s: float = period(0.01)

    def begin(self) -> LowSamples:
        """No vCPU has had a sample yet."""
        return MappingProxyType({})

    def decide(
        self, view: PolicyView[BranchCount], memory: Mapping[int, int]
    ) -> Decision[LowSamples]:
        """Want the lowest step of each vCPU that was idle for a whole window."""
        wants: dict[int, Want] = {}
        low_samples: dict[int, int] = {}
        for sample in view.vcpus:
            vcpu, count = sample.vcpu, sample.value
            if count is None:
                wants[vcpu] = Level.NO_VOTE
                continue
            is_low = not self.is_busy(count)
            low_samples[vcpu] = (
                min(memory.get(vcpu, 0) + 1, self.window) if is_low else 0
            )
            is_idle = low_samples[vcpu] >= self.window
            wants[vcpu] = Level.MIN if is_idle else Level.MAX
        return Decision(wants, MappingProxyType(low_samples))

    def is_busy(self, count: BranchCount) -> bool:
        """Return whether one sample is that of a CPU with work."""
        if count.branches < self.fewest_branches_per_s * count.elapsed_s:
            return False
        return 100 * count.misses > self.threshold_percent * count.branches
