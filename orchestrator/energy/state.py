# SPDX-License-Identifier: Apache-2.0
"""How energy is accounted at a time, for explanations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.energy.curves import Curve
    from orchestrator.energy.residency import Activity, MeterSource


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageState:
    """What is known of a package."""

    cores: int
    static_w: float
    is_calibrated: bool
    """Whether the static power was measured here."""
    curves: Mapping[Activity, Curve]
    residual_w: float
    observations: int
    ceiling_khz: int | None
    """What the hardware reaches at present; None: all steps."""
    measured: tuple[float, float] | None
    """Joules since the start, and the seconds in which they were drawn, holes left out;
    None: it has no meter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyState:
    """How energy is accounted now."""

    profile: str
    """Class of the processors."""
    model: str
    """Their model."""
    source: MeterSource
    packages: Mapping[int, PackageState]
