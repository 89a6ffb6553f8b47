# SPDX-License-Identifier: Apache-2.0
"""The supported scaling drivers, by the kernel's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import NoCpufreqError
from orchestrator.power.drivers.acpi_cpufreq import AcpiCpufreq

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.power.drivers.contract import DriverClass, ScalingDriver


DRIVERS: Mapping[str, DriverClass] = {"acpi-cpufreq": AcpiCpufreq}
"""By name, spelled as in the kernel."""
ORIGINALS = frozenset(name for driver in DRIVERS.values() for name in driver.ORIGINALS)
"""Names of all attributes that may be restored."""


def find_driver(driver: str, *, fallback_governor: str | None = None) -> ScalingDriver:
    """Find a scaling driver.

    Args:
        driver: its name, from `scaling_driver`.
        fallback_governor: restored instead of a `userspace` that was found without a
            journal; None: `userspace` is restored.

    Raises:
        NoCpufreqError: an unsupported driver.
    """
    if driver not in DRIVERS:
        known = ", ".join(sorted(DRIVERS))
        raise NoCpufreqError(
            f"unsupported scaling driver '{driver}'", hint=f"supported drivers: {known}"
        )
    return DRIVERS[driver](fallback_governor=fallback_governor)
