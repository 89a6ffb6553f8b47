# SPDX-License-Identifier: Apache-2.0
"""The kernel's limits of a clock group, as a value that `held_limits` reads."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.power.writer import LimitsWriter

MAX, MIN = ATTRIBUTES = LimitsWriter.ATTRIBUTES
"""The attributes of a cpufreq policy that are written, and journalled before."""


class KernelLimits(NamedTuple):
    """The kernel's limits of one clock group, as last read."""

    limits: Limits = NO_LIMITS
    """Those of administrators, the firmware and cooling devices; not vmpowerd's own."""
    turbo_switch: str = ""
    """The switch that turns turbo off: `intel_pstate/no_turbo`, `policy3/boost`; empty:
    none does."""
    held: Limits = NO_LIMITS
    """What vmpowerd has written; without a limit where it has written nothing."""
    problem: str = ""
    """Why it could not write, as text."""

    @property
    def is_boost_off(self) -> bool:
        """Whether turbo is switched off in the kernel."""
        return bool(self.turbo_switch)
