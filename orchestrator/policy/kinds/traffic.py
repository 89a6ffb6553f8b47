# SPDX-License-Identifier: Apache-2.0
"""By received packets: the more arrive, the higher the frequency.

Pure.
Source: apply_traffic_profile() of DPDK's examples/vm_power_manager/channel_monitor.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy, PolicyKind
from orchestrator.policy.kinds.option import REQUIRED, Problem, option, period
from orchestrator.policy.kinds.want import Level
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.policy.kinds.contract import PolicyView
    from orchestrator.policy.kinds.option import Spelling


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic(Policy[float, None]):
    """By packets that arrive: lowest, middle or highest frequency."""

    kind: ClassVar[PolicyKind] = PolicyKind("traffic")
    sample: ClassVar[SampleKind | None] = SampleKind.PACKETS

    avg_pps: int = option(
        REQUIRED,
        "Rate from which vCPUs get the middle frequency.",
        unit="packets per second",
        least=0,
    )
    max_pps: int = option(
        REQUIRED,
        "Rate from which vCPUs get the highest frequency.",
        unit="packets per second",
        least=0,
    )
    period_s: float = period(0.1)

    def problems(self, spell: Spelling) -> Iterator[Problem]:
        """Yield a middle rate that is above the highest."""
        if self.avg_pps > self.max_pps:
            above = f"{self.avg_pps} is above {spell('max_pps')} {self.max_pps}"
            yield Problem("avg_pps", above)

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView[float], memory: None) -> Decision[None]:
        """Want the same of all vCPUs."""
        wants = {it.vcpu: self.level(it.value) for it in view.vcpus}
        return Decision(wants, memory)

    def level(self, packets_per_s: float | None) -> Level:
        """Return the level for a rate; None: unknown."""
        if packets_per_s is None:
            return Level.NO_VOTE
        if packets_per_s >= self.max_pps:
            return Level.MAX
        return Level.MED if packets_per_s >= self.avg_pps else Level.MIN
