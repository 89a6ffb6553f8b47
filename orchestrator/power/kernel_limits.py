# SPDX-License-Identifier: Apache-2.0
"""The kernel's limits of a clock group, as a value that `held_limits` reads."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.limits import NO_LIMITS, Limits

MAX, MIN = ATTRIBUTES = ("scaling_max_freq", "scaling_min_freq")
"""The attributes of a cpufreq policy that are written, and journalled before."""


class KernelLimits(NamedTuple):
    """The kernel's limits of one clock group, as last read."""

    limits: Limits = NO_LIMITS
    """Those of administrators, the firmware and cooling devices; not vmpowerd's own."""
    is_boost_off: bool = False
    """Whether turbo is switched off in the kernel."""
    turbo_switch: str = "cpufreq/boost"
    """The switch that is off, if it is: `intel_pstate/no_turbo`, `policy3/boost`."""
    held: Limits = NO_LIMITS
    """What vmpowerd has written; without a limit where it has written nothing."""
    problem: str = ""
    """Why it could not write, as text."""
