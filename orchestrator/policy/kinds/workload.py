# SPDX-License-Identifier: Apache-2.0
"""A fixed level.

Pure.
Source: apply_workload_profile() of DPDK's examples/vm_power_manager/channel_monitor.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy, PolicyKind
from orchestrator.policy.kinds.option import REQUIRED, option, period
from orchestrator.policy.kinds.want import Level

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.policy.kinds.contract import PolicyView


class Workload(StrEnum):
    """How much a domain has to do."""

    HIGH = "high"
    """The highest frequency."""
    MEDIUM = "medium"
    """The middle frequency."""
    LOW = "low"
    """The lowest frequency."""


_LEVELS: Mapping[Workload, Level] = {
    Workload.HIGH: Level.MAX,
    Workload.MEDIUM: Level.MED,
    Workload.LOW: Level.MIN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedWorkload(Policy[Any, None]):
    """A fixed level, until the policy is removed."""

    kind: ClassVar[PolicyKind] = PolicyKind("workload")

    workload: Workload = option(
        REQUIRED, "Highest, middle or lowest frequency.", is_bare=True
    )
    period_s: float = period(1.0)

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView[Any], memory: None) -> Decision[None]:
        """Want the same of all vCPUs, always."""
        level = _LEVELS[self.workload]
        return Decision({it.vcpu: level for it in view.vcpus}, memory)

    def level_at(self, moment: datetime) -> Level:  # noqa: ARG002 - always the same
        """Return its level."""
        return _LEVELS[self.workload]
