"""By the time of day: busy, quiet, and times in which traffic decides.

Pure: the moment comes with the view.
Source: apply_time_profile() of DPDK's examples/vm_power_manager/channel_monitor.c; as
there, at a time that is in no list the frequency stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, Policy
from orchestrator.policy.kinds.want import Level
from orchestrator.policy.rule import PolicyKind
from orchestrator.policy.timetable import Window, is_within
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from orchestrator.policy.kinds.contract import PolicyView
    from orchestrator.policy.kinds.traffic import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfDay(Policy[float, None]):
    """A timetable of levels."""

    kind: ClassVar[PolicyKind] = PolicyKind.TIME_OF_DAY
    sample: ClassVar[SampleKind | None] = SampleKind.PACKETS

    busy: tuple[Window, ...] = ()
    """When to want the highest step."""
    quiet: tuple[Window, ...] = ()
    """When to want the lowest step, unless it is busy."""
    by_traffic: tuple[Window, ...] = ()
    """When `traffic` decides, unless it is busy or quiet."""
    traffic: Traffic | None = None
    """None: no traffic is watched; those times are as unknown traffic."""
    zone: ZoneInfo | None = None
    """The zone of the windows; None: the host's, which the view carries."""
    period_s: float = 1.0

    @property
    def needs_sample(self) -> bool:
        """Whether some time of the week depends on traffic."""
        return bool(self.by_traffic and self.traffic)

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView[float], memory: None) -> Decision[None]:
        """Want the same of all vCPUs."""
        wants = {it.vcpu: self._level(view, it.value) for it in view.vcpus}
        return Decision(wants, memory)

    def _level(self, view: PolicyView[float], packets_per_s: float | None) -> Level:
        now = view.now if self.zone is None else view.now.astimezone(self.zone)
        if is_within(self.busy, now):
            return Level.MAX
        if is_within(self.quiet, now):
            return Level.MIN
        if is_within(self.by_traffic, now):
            traffic = self.traffic
            return Level.NO_VOTE if traffic is None else traffic.level(packets_per_s)
        return Level.AS_IS
