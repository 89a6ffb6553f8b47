# SPDX-License-Identifier: Apache-2.0
"""A kind of policy: the highest frequency while packets arrive at all.

A kind is a module like this one in `orchestrator/policy/kinds/`, and a line in `KINDS`
(`orchestrator/policy/kinds/table.py`). The configuration, the command line, `--help`,
completion and the manual read the options from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy, PolicyKind
from orchestrator.policy.kinds.option import Problem, option, period
from orchestrator.policy.kinds.want import Level
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.policy.kinds.contract import PolicyView
    from orchestrator.policy.kinds.option import Spelling

LastPacket = float | None
"""When a packet arrived last, by the monotonic clock; None: none has been seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyTraffic(Policy[float, LastPacket]):
    """Highest frequency while packets arrive, lowest after a pause."""

    kind: ClassVar[PolicyKind] = PolicyKind("any-traffic")
    sample: ClassVar[SampleKind | None] = SampleKind.PACKETS

    pause_s: float = option(
        5.0,
        "Time without packets after which vCPUs get the lowest frequency.",
        unit="seconds",
        least=0,
        most=3600,
    )
    period_s: float = period(0.5)

    def problems(self, spell: Spelling) -> Iterator[Problem]:
        """Yield a pause that no decision could notice."""
        if self.pause_s < self.period_s:
            below = f"{self.pause_s} is below {spell('period_s')} {self.period_s}"
            yield Problem("pause_s", below)

    def begin(self) -> LastPacket:
        """No packet has been seen."""
        return None

    def decide(
        self, view: PolicyView[float], memory: LastPacket
    ) -> Decision[LastPacket]:
        """Want the same of all vCPUs; they have the packet rate of their domain."""
        rate = view.vcpus[0].value if view.vcpus else None
        if rate is None:  # not sampled yet, or the counter cannot be read
            return Decision({it.vcpu: Level.NO_VOTE for it in view.vcpus}, memory)
        last_s = view.monotonic_s if rate > 0 or memory is None else memory
        is_paused = view.monotonic_s - last_s >= self.pause_s
        level = Level.MIN if is_paused else Level.MAX
        return Decision({it.vcpu: level for it in view.vcpus}, last_s)
