# SPDX-License-Identifier: Apache-2.0
"""The ACPI tables of the firmware: whether they describe P-states and CPPC.

Source: ACPI (_PSS, _CPC); Documentation/ABI/testing/sysfs-firmware-acpi of the kernel.
A name is four bytes in the compiled tables (ACPI, NameSeg).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cli.doctor.target import Target

_TABLES = "firmware/acpi/tables"
_DEFINITIONS = ("DSDT*", "SSDT*", "dynamic/SSDT*")
_MAX_BYTES = 4 << 20
"""Most that is read of one table; the largest have some 500 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcpiTables:
    """What the definition blocks name; None: root only may read them, or no ACPI."""

    has_p_states: bool | None
    """_PSS, which acpi-cpufreq needs."""
    has_cppc: bool | None
    """_CPC, which amd-pstate and cppc_cpufreq need."""


def read_acpi_tables(target: Target) -> AcpiTables:
    """Search the tables that the kernel has loaded."""
    directory = target.cpu_root / _TABLES
    paths = [path for name in _DEFINITIONS for path in directory.glob(name)]
    try:
        tables = [_read(path) for path in paths]
    except OSError:
        tables = []
    if not tables:
        return AcpiTables(has_p_states=None, has_cppc=None)
    return AcpiTables(
        has_p_states=any(b"_PSS" in table for table in tables),
        has_cppc=any(b"_CPC" in table for table in tables),
    )


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)
