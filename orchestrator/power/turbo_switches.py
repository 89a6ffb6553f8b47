# SPDX-License-Identifier: Apache-2.0
"""Which of the kernel's switches turns turbo off for a clock group.

There is one for all CPUs, `cpufreq/boost` or `intel_pstate/no_turbo`, and since Linux
6.12 one for each policy. `boost` reads 0 also where the driver has no such switch; so
where the driver shows its range of frequencies, turbo is off only if it is not in it.

Source: drivers/cpufreq/{cpufreq,acpi-cpufreq,amd-pstate,intel_pstate}.c of the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import NoCpufreqError, SysfsError
from orchestrator.power.steps import has_list, read_steps
from orchestrator.power.sysfs import CPU_DIR, policy_path

if TYPE_CHECKING:
    from orchestrator.power.sysfs import CpuTree

_BOOST = "cpufreq/boost"
_OFF = {_BOOST: 0, "intel_pstate/no_turbo": 1}
"""The switches of all CPUs, and what they read while turbo is off."""


class TurboSwitches:
    """The switches of one CPU tree.

    Synchronization: one thread at a time.
    """

    def __init__(self, tree: CpuTree) -> None:
        self._tree = tree
        self._has_own: dict[int, bool] = {}
        """Whether a clock group has a switch of its own."""

    def find_for_all(self) -> str:
        """Return the switch that is off for all CPUs; empty: none is."""
        for name, off in _OFF.items():
            if self._tree.read_khz(f"{CPU_DIR}/{name}") == off:
                return name
        return ""

    def find(self, number: int, for_all: str) -> str:
        """Return the switch that is off for a clock group; empty: none is.

        Args:
            number: of the group.
            for_all: the result of `find_for_all`.
        """
        if for_all and for_all != _BOOST:
            return for_all
        found = for_all or self._find_own(number)
        return found if found and not self._has_turbo_in_its_range(number) else ""

    def _find_own(self, number: int) -> str:
        own = policy_path(number, "boost")
        if number not in self._has_own:
            self._has_own[number] = (self._tree.root / own).exists()
        is_off = self._has_own[number] and self._tree.read_khz(own) == 0
        return f"policy{number}/boost" if is_off else ""

    def _has_turbo_in_its_range(self, number: int) -> bool:
        try:
            is_shown = not has_list(self._tree, number)
            return is_shown and read_steps(self._tree, number).has_turbo
        except (SysfsError, NoCpufreqError):  # its CPUs are offline
            return False
