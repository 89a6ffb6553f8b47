"""By received packets: the more arrive, the higher the frequency.

Pure.
Source: apply_traffic_profile() of DPDK's examples/vm_power_manager/channel_monitor.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy
from orchestrator.policy.kinds.want import Level
from orchestrator.policy.rule import PolicyKind
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import PolicyView


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic(Policy[float, None]):
    """Packets that arrive."""

    kind: ClassVar[PolicyKind] = PolicyKind.TRAFFIC
    sample: ClassVar[SampleKind | None] = SampleKind.PACKETS

    avg_pps: int
    """Packets per second from which vCPUs get the middle frequency."""
    max_pps: int
    """Packets per second from which vCPUs get the highest frequency."""
    period_s: float = 0.1

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
