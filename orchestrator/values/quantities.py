# SPDX-License-Identifier: Apache-2.0
"""Powers, energies, shares and what they are worth, as text.

An uncertainty is one standard deviation, and has the unit of its value.
"""

from __future__ import annotations

from orchestrator.values.safe_text import printable
from orchestrator.values.units import kwh

_WH_PER_KWH = 1_000
_KWH_FROM = 1.0
_TWO_DIGITS_BELOW_WH = 10.0
_GRAMS_PER_KG = 1_000


def format_watts(watts: float, error: float | None = None, *, digits: int = 1) -> str:
    """Format a power: `12.3 W`, or with its uncertainty, `12.3 ±0.4 W`."""
    return _with_error(watts, error, digits, "W")


def format_energy(kilowatt_hours: float, error: float | None = None) -> str:
    """Format an energy: `1.20 kWh`, `120.0 Wh`, or with its uncertainty."""
    largest = max(abs(kilowatt_hours), error or 0.0)
    if largest >= _KWH_FROM:
        return _with_error(kilowatt_hours, error, 2, "kWh")
    digits = 2 if largest * _WH_PER_KWH < _TWO_DIGITS_BELOW_WH else 1
    error = None if error is None else error * _WH_PER_KWH
    return _with_error(kilowatt_hours * _WH_PER_KWH, error, digits, "Wh")


def format_joules(joules: float) -> str:
    """Format an energy that is given in joules."""
    return format_energy(kwh(joules))


def format_share(share: float, *, digits: int = 0) -> str:
    """Format a share of 1: `12 %`."""
    return f"{100 * share:.{digits}f} %"


def format_worth(
    money: float | None, currency: str | None, co2_g: float | None
) -> list[str]:
    """Format what an energy is worth, as far as known: `0.36 EUR`, `420 g CO2`."""
    parts = []
    if money is not None:
        parts.append(f"{money:,.2f} {printable(currency or '')}".strip())
    if co2_g is not None:
        is_small = abs(co2_g) < _GRAMS_PER_KG
        parts.append(
            f"{co2_g:.0f} g CO2" if is_small else f"{co2_g / _GRAMS_PER_KG:,.2f} kg CO2"
        )
    return parts


def _with_error(value: float, error: float | None, digits: int, unit: str) -> str:
    uncertainty = "" if error is None else f" ±{error:,.{digits}f}"
    return f"{value:,.{digits}f}{uncertainty} {unit}"
