# SPDX-License-Identifier: Apache-2.0
"""Frequency tables: the steps of a clock group, and which of them is turbo.

Pure, and imported by the monitor: import nothing heavier than ``typing`` here.

Source: drivers/cpufreq/acpi-cpufreq.c and the ACPI convention that DPDK's
power_acpi_cpufreq.c relies on: firmware marks turbo as a first P-state exactly 1 MHz
above the nominal one (3001000, 3000000, 2000000, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

TURBO_MARK_KHZ = 1_000
"""Distance of acpi-cpufreq's turbo step from the nominal step."""


class FrequencyTable(NamedTuple):
    """The frequencies that a clock group offers; see `table_from`."""

    khz: tuple[int, ...]
    """Descending, without duplicates, at least one."""
    has_turbo: bool
    """Whether the highest step is turbo."""

    @property
    def highest_khz(self) -> int:
        """The highest step, turbo included."""
        return self.khz[0]

    @property
    def lowest_khz(self) -> int:
        """The lowest step."""
        return self.khz[-1]

    @property
    def nominal_khz(self) -> int:
        """The highest step without turbo."""
        return self.khz[1] if self.has_turbo else self.khz[0]

    def round_up(self, khz: int) -> int:
        """Return the lowest step that is not below `khz`, else the highest."""
        for step in reversed(self.khz):
            if step >= khz:
                return step
        return self.khz[0]

    def round_down(self, khz: int) -> int:
        """Return the highest step that is not above `khz`, else the lowest."""
        for step in self.khz:
            if step <= khz:
                return step
        return self.khz[-1]

    def up_from(self, khz: int) -> int:
        """Return the next step above `khz`, saturating at the highest."""
        return self.round_up(khz + 1)

    def down_from(self, khz: int) -> int:
        """Return the next step below `khz`, saturating at the lowest."""
        return self.round_down(khz - 1)


def table_from(
    available: Iterable[int], *, has_turbo: bool | None = None
) -> FrequencyTable:
    """Build a table from a list of frequencies.

    Args:
        available: kHz in any order; numbers below 1 are dropped.
        has_turbo: for drivers that report it elsewhere; None: by acpi-cpufreq's
            convention.

    Raises:
        ValueError: no frequency is left.
    """
    khz = tuple(sorted({step for step in available if step > 0}, reverse=True))
    if not khz:
        raise ValueError("no frequency")
    if has_turbo is None:
        has_turbo = len(khz) > 1 and khz[0] - TURBO_MARK_KHZ == khz[1]
    return FrequencyTable(khz, has_turbo and len(khz) > 1)
