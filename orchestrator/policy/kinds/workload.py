"""By somebody's word.

Pure.
Source: apply_workload_profile() of DPDK's examples/vm_power_manager/channel_monitor.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, all_want
from orchestrator.policy.kinds.want import Level
from orchestrator.policy.rule import PolicyKind, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.policy.kinds.contract import PolicyView

_LEVELS: Mapping[Workload, Level] = {
    Workload.HIGH: Level.MAX,
    Workload.MEDIUM: Level.MED,
    Workload.LOW: Level.MIN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedWorkload:
    """One level, until it is removed."""

    kind: ClassVar[PolicyKind] = PolicyKind.WORKLOAD
    need: ClassVar[None] = None

    workload: Workload
    period_s: float = 1.0

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView, memory: None) -> Decision[None]:
        """Want the same of all vCPUs, always."""
        return Decision(all_want(view, _LEVELS[self.workload]), memory)
