# SPDX-License-Identifier: Apache-2.0
"""Powers and energies for people."""

from __future__ import annotations

_KWH_FROM = 0.1
_KILO = 1_000
_JOULES_PER_WH = 3_600


def watts(value: float, error: float | None = None) -> str:
    """Format a power: `12.3 W`, or with its uncertainty, `12.3 ±0.4 W`."""
    return f"{value:.1f} W" if error is None else f"{value:.1f} ±{error:.1f} W"


def energy_text(joules: float) -> str:
    """Format an energy in watt-hours."""
    watt_hours = joules / _JOULES_PER_WH
    if abs(watt_hours) >= _KWH_FROM * _KILO:
        return f"{watt_hours / _KILO:.2f} kWh"
    return f"{watt_hours:.2f} Wh"
