# SPDX-License-Identifier: Apache-2.0
"""Powers, energies and shares as text: one rule for each."""

from __future__ import annotations

import pytest

from orchestrator.values.quantities import (
    format_energy,
    format_joules,
    format_share,
    format_watts,
    format_worth,
)


@pytest.mark.parametrize(
    ("kwh", "error", "text"),
    [
        (0.0, None, "0.00 Wh"),
        (0.00175, None, "1.75 Wh"),
        (0.12, None, "120.0 Wh"),
        (1.204, None, "1.20 kWh"),
        (12_345.6, None, "12,345.60 kWh"),
        (-0.0051, None, "-5.10 Wh"),
        (0.005, 0.0001, "5.00 ±0.10 Wh"),
        # One unit for both, which the larger one chooses.
        (0.5, 1.5, "0.50 ±1.50 kWh"),
        (0.005, 0.02, "5.0 ±20.0 Wh"),
    ],
)
def test_energies(kwh: float, error: float | None, text: str) -> None:
    assert format_energy(kwh, error) == text


def test_joules_are_shown_as_the_same_energy() -> None:
    assert format_joules(3_600_000.0) == format_energy(1.0) == "1.00 kWh"


def test_powers_and_shares() -> None:
    assert format_watts(12.34) == "12.3 W"
    assert format_watts(12.34, 0.4) == "12.3 ±0.4 W"
    assert format_watts(4.2, digits=2) == "4.20 W"
    assert format_share(0.25) == "25 %"
    assert format_share(0.1234, digits=1) == "12.3 %"


def test_what_is_not_known_to_be_worth_anything_is_left_out() -> None:
    assert format_worth(None, None, None) == []
    assert format_worth(0.363, "EUR", 420.2) == ["0.36 EUR", "420 g CO2"]
    assert format_worth(1_234.5, None, 1_500.0) == ["1,234.50", "1.50 kg CO2"]
