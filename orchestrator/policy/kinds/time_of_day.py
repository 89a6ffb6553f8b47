# SPDX-License-Identifier: Apache-2.0
"""By the time of day: busy, quiet, and times in which traffic decides.

Pure: the moment comes with the view.
Source: apply_time_profile() of DPDK's examples/vm_power_manager/channel_monitor.c. An
hour in no list leaves the frequency as it is there; here that is one of the choices of
`otherwise`, which policies of guests and of DPDK's scripts have (decision 0044).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar
from zoneinfo import ZoneInfo  # noqa: TC003 - options are read from the annotations

from orchestrator.policy.kinds.contract import Decision, Policy, PolicyKind
from orchestrator.policy.kinds.option import Problem, option, period
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.want import Level
from orchestrator.policy.timetable import Window, is_within
from orchestrator.sampling.kinds import SampleKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from orchestrator.policy.kinds.contract import PolicyView
    from orchestrator.policy.kinds.option import Spelling


class Otherwise(StrEnum):
    """What applies at a time that is in no list."""

    NONE = "none"
    """No vote."""
    BUSY = "busy"
    """The highest frequency."""
    MEDIUM = "medium"
    """The middle frequency."""
    QUIET = "quiet"
    """The lowest frequency."""
    UNCHANGED = "unchanged"
    """The frequency that applied at the last listed time; before that, no vote."""


_OTHERWISE: Mapping[Otherwise, Level] = {
    Otherwise.NONE: Level.NO_VOTE,
    Otherwise.BUSY: Level.MAX,
    Otherwise.MEDIUM: Level.MED,
    Otherwise.QUIET: Level.MIN,
    Otherwise.UNCHANGED: Level.AS_IS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfDay(Policy[float, None]):
    """By the time of the week: busy, quiet, and times in which traffic decides."""

    kind: ClassVar[PolicyKind] = PolicyKind("time-of-day")
    sample: ClassVar[SampleKind | None] = SampleKind.PACKETS

    busy: tuple[Window, ...] = option(
        (), 'When vCPUs get the highest frequency, as in "mon-fri 08:00-18:00".'
    )
    quiet: tuple[Window, ...] = option(
        (), "When vCPUs get the lowest frequency, unless it is busy."
    )
    traffic: tuple[Window, ...] = option(
        (), "When the rate of packets decides, unless it is busy or quiet."
    )
    otherwise: Otherwise = option(
        Otherwise.NONE,
        "Frequency at all other times: busy is the highest, medium the middle, quiet"
        " the lowest, unchanged the one before; with none, the policy does not vote.",
    )
    avg_pps: int | None = option(
        None,
        "Rate from which vCPUs get the middle frequency in times of traffic.",
        unit="packets per second",
        least=0,
    )
    max_pps: int | None = option(
        None,
        "Rate from which vCPUs get the highest frequency in times of traffic.",
        unit="packets per second",
        least=0,
    )
    zone: ZoneInfo | None = option(
        None, 'Time zone, as in "Europe/Berlin"; without it, the zone of the host.'
    )
    period_s: float = period(1.0)

    def problems(self, spell: Spelling) -> Iterator[Problem]:
        """Yield an empty timetable, and rates that traffic needs."""
        if not (self.busy or self.quiet or self.traffic):
            names = f"{spell('busy')}, {spell('quiet')} and {spell('traffic')}"
            yield Problem("busy", f"missing, expected at least one of {names}")
        if self.traffic:
            for name in ("avg_pps", "max_pps"):
                if getattr(self, name) is None:
                    yield Problem(name, f"missing, expected with {spell('traffic')}")
        if self._by_traffic is not None:
            yield from self._by_traffic.problems(spell)

    @property
    def _by_traffic(self) -> Traffic | None:
        """What decides at times of traffic; None: not known, its rates are missing."""
        if self.avg_pps is None or self.max_pps is None:
            return None
        return Traffic(avg_pps=self.avg_pps, max_pps=self.max_pps)

    @property
    def needs_sample(self) -> bool:
        """Whether some time of the week depends on traffic."""
        return bool(self.traffic and self._by_traffic)

    @property
    def works_without_sample(self) -> bool:
        """Whether some time does not depend on traffic."""
        is_level = self.otherwise not in (Otherwise.NONE, Otherwise.UNCHANGED)
        return bool(self.busy or self.quiet) or is_level

    def is_shown(self, name: str) -> bool:
        """Hide times of traffic of a guest that has sent no interfaces to watch."""
        return name != "traffic" or self._by_traffic is not None

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView[float], memory: None) -> Decision[None]:
        """Want the same of all vCPUs."""
        level, traffic = self.level_at(view.now), self._by_traffic
        if level is None and traffic is not None:
            return traffic.decide(view, memory)
        return Decision({it.vcpu: level or Level.NO_VOTE for it in view.vcpus}, memory)

    def level_at(self, moment: datetime) -> Level | None:
        """Return the level of a moment; None: traffic decides."""
        local = moment if self.zone is None else moment.astimezone(self.zone)
        if is_within(self.busy, local):
            return Level.MAX
        if is_within(self.quiet, local):
            return Level.MIN
        if is_within(self.traffic, local):
            return Level.NO_VOTE if self._by_traffic is None else None
        return _OTHERWISE[self.otherwise]

    @property
    def changes_min(self) -> frozenset[int]:
        """Midnight, and where a window begins or ends."""
        windows = (*self.busy, *self.quiet, *self.traffic)
        return frozenset({0}.union(*(window.edges_min for window in windows)))
