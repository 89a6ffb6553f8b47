"""By packets: the more arrive, the higher the clock.

Pure.
Source: apply_traffic_profile() of DPDK's examples/vm_power_manager/channel_monitor.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, all_want
from orchestrator.policy.kinds.want import Level
from orchestrator.policy.rule import PolicyKind
from orchestrator.sampling.question import Need

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import PolicyView


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Two thresholds make three levels."""

    kind: ClassVar[PolicyKind] = PolicyKind.TRAFFIC
    need: ClassVar[Need] = Need.TRAFFIC

    avg_pps: int
    """From so many packets a second on: the middle."""
    max_pps: int
    """From so many packets a second on: the highest step."""
    period_s: float = 0.1

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView, memory: None) -> Decision[None]:
        """Want the same of all vCPUs."""
        return Decision(all_want(view, self.level(view.packets_per_s)), memory)

    def level(self, packets_per_s: float | None) -> Level:
        """Return the level for a rate; None: unknown."""
        if packets_per_s is None:
            return Level.NO_VOTE
        if packets_per_s >= self.max_pps:
            return Level.MAX
        return Level.MED if packets_per_s >= self.avg_pps else Level.MIN
