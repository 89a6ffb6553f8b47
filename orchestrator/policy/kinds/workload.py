"""By somebody's word.

Pure.
Source: apply_workload_profile() of DPDK's examples/vm_power_manager/channel_monitor.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy
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
class FixedWorkload(Policy[Any, None]):
    """One level, until it is removed."""

    kind: ClassVar[PolicyKind] = PolicyKind.WORKLOAD

    workload: Workload
    period_s: float = 1.0

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView[Any], memory: None) -> Decision[None]:
        """Want the same of all vCPUs, always."""
        level = _LEVELS[self.workload]
        return Decision({it.vcpu: level for it in view.vcpus}, memory)
