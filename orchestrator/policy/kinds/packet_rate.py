# SPDX-License-Identifier: Apache-2.0
"""By received packets, in proportion: as high as the rate needs, and no higher.

Pure.
Theory of operation: a vCPU that polls is busy for the share of the time that its
packets need, and that share is inversely proportional to the frequency. From the rate
that its domain can handle at the highest frequency follows the frequency at which a
lower rate causes the target load. A part of the highest frequency is kept in reserve at
all rates: bursts need not be slower because the rate around them is low, and the lower
the frequency, the less a step costs. A higher rate takes effect with the first sample;
a lower one when it has lasted, because being fast for some seconds costs some watts,
and being slow for a moment costs packets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy, PolicyKind
from orchestrator.policy.kinds.option import REQUIRED, option, period
from orchestrator.policy.kinds.want import Level
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import PolicyView
    from orchestrator.policy.kinds.want import Want

Rates = tuple[float, ...]
"""The latest packets per second, the newest last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRate(Policy[float, Rates]):
    """By packets that arrive, in proportion: every step, not only three."""

    kind: ClassVar[PolicyKind] = PolicyKind("packet-rate")
    sample: ClassVar[SampleKind | None] = SampleKind.PACKETS

    capacity_pps: int = option(
        REQUIRED,
        "Rate that the domain can just handle at the highest frequency.",
        unit="packets per second",
        least=1,
    )
    target_load: float = option(
        0.42,
        "Share of the time for which vCPUs should be busy at the highest frequency; the"
        " rest is for bursts.",
        least=0.05,
        most=1,
    )
    reserve: float = option(
        0.11,
        "Part of the highest frequency that vCPUs have for bursts at any rate.",
        least=0,
        most=1,
    )
    down_after_samples: int = option(
        3,
        "Consecutive samples that must be lower for a lower frequency.",
        least=1,
        most=1000,
    )
    period_s: float = period(0.1)

    def begin(self) -> Rates:
        """No rate is known."""
        return ()

    def decide(self, view: PolicyView[float], memory: Rates) -> Decision[Rates]:
        """Want the same of all vCPUs: what the highest of the latest rates needs."""
        rate = view.vcpus[0].value if view.vcpus else None
        if rate is None:
            return Decision({it.vcpu: Level.NO_VOTE for it in view.vcpus}, ())
        rates = (*memory, rate)[-self.down_after_samples :]
        load = max(rates) / self.capacity_pps / self.target_load
        share = self.reserve + (1 - self.reserve) * load
        wants: dict[int, Want] = {
            it.vcpu: Level.MAX
            if share >= 1
            else max(1, int(share * it.window.table.highest_khz))
            for it in view.vcpus
        }
        return Decision(wants, rates)
