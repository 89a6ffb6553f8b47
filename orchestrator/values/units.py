"""Frequencies are integer kHz everywhere; this is the only door to other units.

Source: the kernel's cpufreq files hold decimal kHz
(Documentation/admin-guide/pm/cpufreq.rst).
"""

from __future__ import annotations

import re
from typing import NewType

from orchestrator.errors import ConfigError

KHz = NewType("KHz", int)

MOST_KHZ = 100_000_000
"""100 GHz: what is above it was not meant."""
_FACTORS = {"": 1, "khz": 1, "mhz": 1_000, "ghz": 1_000_000}
_SHOWN = 40
_FREQUENCY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


def parse_khz(text: str) -> KHz:
    """Turn ``2300000``, ``2300MHz`` or ``2.3GHz`` into kHz.

    Raises:
        ConfigError: the text is no frequency, or none that a CPU can have.
    """
    match = _FREQUENCY.fullmatch(text.strip())
    factor = _FACTORS.get(match[2].lower()) if match else None
    # A fraction of a kHz is a forgotten unit: 2.3 does not mean 2 kHz.
    if match is None or factor is None or (factor == 1 and "." in match[1]):
        raise ConfigError(
            f"'{text[:_SHOWN]}' is no frequency",
            hint="write 2300000, 2300MHz or 2.3GHz",
        )
    khz = float(match[1]) * factor
    if not 1 <= khz <= MOST_KHZ:
        raise ConfigError(f"'{text[:_SHOWN]}' is no clock of a CPU")
    return KHz(round(khz))


def format_khz(khz: int | None) -> str:
    """Write kHz for people: ``2.30 GHz``, ``800 MHz``, ``-`` for none."""
    if khz is None:
        return "-"
    if khz < 1_000_000:
        return f"{khz // 1_000} MHz"
    return f"{khz / 1_000_000:.2f} GHz"
