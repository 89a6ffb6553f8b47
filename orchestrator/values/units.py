# SPDX-License-Identifier: Apache-2.0
"""Frequencies and latencies: integer kHz and microseconds inside; energies: joules.

Other units are only in what people write and read.

Source: the kernel's cpufreq files hold decimal kHz
(Documentation/admin-guide/pm/cpufreq.rst).
"""

from __future__ import annotations

import re
from typing import NewType

from orchestrator.errors import ConfigError

KHz = NewType("KHz", int)
Microseconds = NewType("Microseconds", int)

MAX_KHZ = 100_000_000
"""100 GHz; anything above is a mistake."""
MAX_US = 1_000_000
"""A second; no idle state takes that long to leave."""
FREQUENCY_FORMATS = "2.3GHz, 2300MHz or kHz"
"""How a frequency can be written, for messages."""
_JOULES_PER_KWH = 3_600_000.0
_FACTORS = {"": 1, "khz": 1, "mhz": 1_000, "ghz": 1_000_000}
_SHOWN = 40
_FREQUENCY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


def parse_khz(text: str) -> KHz:
    """Convert ``2300000``, ``2300MHz`` or ``2.3GHz`` to kHz.

    Raises:
        ConfigError: not a frequency, or not one that a CPU can have.
    """
    match = _FREQUENCY.fullmatch(text.strip())
    factor = _FACTORS.get(match[2].lower()) if match else None
    # A fraction of a kHz is a missing unit: 2.3 does not mean 2 kHz.
    if match is None or factor is None or (factor == 1 and "." in match[1]):
        raise _invalid(text, FREQUENCY_FORMATS)
    khz = float(match[1]) * factor
    if not 1 <= khz <= MAX_KHZ:
        raise _invalid(text, f"1 kHz to {MAX_KHZ // 1_000_000} GHz")
    return KHz(round(khz))


def kwh(joules: float) -> float:
    """Convert an energy to kilowatt-hours."""
    return joules / _JOULES_PER_KWH


def _invalid(text: str, expected: str) -> ConfigError:
    return ConfigError(f"invalid frequency '{text[:_SHOWN]}': expected {expected}")


def check_us(us: int) -> Microseconds:
    """Check a latency.

    Raises:
        ConfigError: it is negative, or too long for one.
    """
    if not 0 <= us <= MAX_US:
        raise ConfigError(f"invalid latency {us}: expected 0 to {MAX_US} microseconds")
    return Microseconds(us)


def parse_us(text: str) -> Microseconds:
    """Convert a number of microseconds.

    Raises:
        ConfigError: not a number, or not a latency.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _SHOWN):
        raise ConfigError(
            f"invalid latency '{text[:_SHOWN]}': expected 0 to {MAX_US} microseconds"
        )
    return check_us(int(text))


def format_khz(khz: int | None) -> str:
    """Format kHz for people: ``2.30 GHz``, ``800 MHz``, ``-`` for None."""
    if khz is None:
        return "-"
    if khz < 1_000_000:
        return f"{khz // 1_000} MHz"
    return f"{khz / 1_000_000:.2f} GHz"
