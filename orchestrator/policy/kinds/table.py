# SPDX-License-Identifier: Apache-2.0
"""The table of policy kinds: a new kind is a module of this package and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.energy_preference import PreferredEnergy
from orchestrator.policy.kinds.idle_latency import IdleLatency
from orchestrator.policy.kinds.packet_rate import PacketRate
from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.kinds.workload import FixedWorkload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.policy.kinds.contract import Policy, PolicyKind

KINDS: Mapping[PolicyKind, type[Policy[Any, Any]]] = {
    kind.kind: kind
    for kind in (
        Traffic,
        PacketRate,
        TimeOfDay,
        FixedWorkload,
        BranchRatio,
        Utilisation,
        IdleLatency,
        PreferredEnergy,
    )
}
