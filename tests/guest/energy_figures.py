# SPDX-License-Identifier: Apache-2.0
"""What a domain draws, as the host sends it and as the guest's library returns it."""

from __future__ import annotations

from orchestrator.channel.protocol import EnergyFigures, FigureSource
from orchestrator.guest.energy import Energy

FIGURES = EnergyFigures(
    drawn_uj=1_500_000,
    drawn_error_uj=250_000,
    saved_uj=-500_000,
    saved_error_uj=125_000,
    power_uw=12_000_000,
    power_error_uw=1_000_000,
    saved_uw=3_000_000,
    saved_error_uw=500_000,
    duration_ms=61_000,
    source=FigureSource.MEASURED,
)
ENERGY = Energy(
    watts=12.0,
    error_watts=1.0,
    saved_watts=3.0,
    saved_error_watts=0.5,
    joules_total=1.5,
    error_joules_total=0.25,
    saved_joules_total=-0.5,
    saved_error_joules_total=0.125,
    seconds=61.0,
    source="measured",
)
