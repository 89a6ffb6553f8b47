# SPDX-License-Identifier: Apache-2.0
"""An idle latency, held for the CPUs of vCPUs.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.policy.kinds.contract import Concern, HoldingPolicy, PolicyKind
from orchestrator.policy.kinds.option import REQUIRED, option
from orchestrator.values.cpu_attributes import CpuAttributes
from orchestrator.values.units import (
    MAX_US,
    Microseconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleLatency(HoldingPolicy):
    """An idle latency for the CPUs of the vCPUs; without a vote for a frequency."""

    kind: ClassVar[PolicyKind] = PolicyKind("latency")
    concern: ClassVar[Concern] = Concern.IDLE_LATENCY

    idle_latency_us: Microseconds = option(
        REQUIRED,
        "Longest time that an idle CPU may take to wake up, for the CPUs that the vCPUs"
        " are pinned to; the kernel then enters no deeper idle state.",
        unit="microseconds",
        least=0,
        most=MAX_US,
        is_bare=True,
    )

    @property
    def attributes(self) -> CpuAttributes:
        """Return the latency."""
        return CpuAttributes(idle_latency_us=self.idle_latency_us)
