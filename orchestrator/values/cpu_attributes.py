# SPDX-License-Identifier: Apache-2.0
"""What the CPUs of a vCPU are to be held at, beside their frequency; pure.

Of several sources that want something of the same CPUs the one for more performance
counts, so that no vCPU is slowed because of another one, or of a second source.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.values.energy_preference import rank_preference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.values.energy_preference import EnergyPreference
    from orchestrator.values.units import Microseconds


class CpuAttributes(NamedTuple):
    """Idle latency and energy preference; None: any will do."""

    idle_latency_us: Microseconds | None = None
    """Longest time in microseconds that an idle CPU may take to wake up."""
    epp: EnergyPreference | None = None
    """Energy preference."""


ANY_ATTRIBUTES = CpuAttributes()
"""What wants none of them."""


def strictest(wanted: Iterable[CpuAttributes]) -> CpuAttributes:
    """Return the shortest latency, and the preference for more performance."""
    given = tuple(wanted)
    latencies = (it.idle_latency_us for it in given if it.idle_latency_us is not None)
    preferences = (it.epp for it in given if it.epp is not None)
    return CpuAttributes(
        min(latencies, default=None),
        min(preferences, key=rank_preference, default=None),
    )
