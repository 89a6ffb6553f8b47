"""By the time: busy, quiet, and times in which traffic decides.

Pure: the moment comes with the view.
Source: apply_time_profile() of DPDK's examples/vm_power_manager/channel_monitor.c, of
which it keeps that a time which is in no list leaves the clock as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator.policy.kinds.contract import Decision, all_want
from orchestrator.policy.kinds.want import Level
from orchestrator.policy.rule import PolicyKind
from orchestrator.policy.timetable import Window, is_within
from orchestrator.sampling.question import Need

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from orchestrator.policy.kinds.contract import PolicyView
    from orchestrator.policy.kinds.traffic import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfDay:
    """A timetable of levels."""

    kind: ClassVar[PolicyKind] = PolicyKind.TIME_OF_DAY

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
    def need(self) -> Need | None:
        """Traffic, if some time of the week depends on it."""
        return Need.TRAFFIC if self.by_traffic and self.traffic else None

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView, memory: None) -> Decision[None]:
        """Want the same of all vCPUs."""
        return Decision(all_want(view, self._level(view)), memory)

    def _level(self, view: PolicyView) -> Level:
        now = view.now if self.zone is None else view.now.astimezone(self.zone)
        if is_within(self.busy, now):
            return Level.MAX
        if is_within(self.quiet, now):
            return Level.MIN
        if is_within(self.by_traffic, now):
            traffic = self.traffic
            return (
                Level.NO_VOTE if traffic is None else traffic.level(view.packets_per_s)
            )
        return Level.AS_IS
