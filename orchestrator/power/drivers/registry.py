"""The scaling drivers that we know, by the name that the kernel gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import NoCpufreqError
from orchestrator.power.drivers.acpi_cpufreq import AcpiCpufreq

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.power.drivers.contract import ScalingDriver


DRIVERS: Mapping[str, Callable[..., ScalingDriver]] = {"acpi-cpufreq": AcpiCpufreq}
"""By scaling driver. The name is the kernel's, spelled as the kernel spells it."""


def find_driver(driver: str, *, fallback_governor: str | None = None) -> ScalingDriver:
    """Find a scaling driver.

    Args:
        driver: what `scaling_driver` says.
        fallback_governor: restored in place of a `userspace` that was found without
            a journal; None: such a group goes back to `userspace`.

    Raises:
        NoCpufreqError: we do not know this driver.
    """
    if driver not in DRIVERS:
        known = ", ".join(sorted(DRIVERS))
        raise NoCpufreqError(
            f"unknown scaling driver '{driver}'", hint=f"drivers that we know: {known}"
        )
    return DRIVERS[driver](fallback_governor=fallback_governor)
