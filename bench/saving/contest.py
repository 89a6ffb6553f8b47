# SPDX-License-Identifier: Apache-2.0
"""Who takes part in the saving benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.saving.day import measure_saving
from bench.saving.governors import (
    AlwaysHighest,
    AlwaysLowest,
    DpdkTraffic,
    Ondemand,
    Schedutil,
    TunedPowersave,
)
from bench.saving.vmpower import GuestAuto, packet_rate_policy, traffic_policy

if TYPE_CHECKING:
    from bench.figures import SavingRow


def measure_day(parts: int, sample_s: float) -> tuple[SavingRow, ...]:
    """Simulate a day for all contenders; arguments as for `measure_saving`."""
    contenders = (
        AlwaysHighest(),
        Schedutil(),
        Ondemand(),
        TunedPowersave(),
        AlwaysLowest(),
        DpdkTraffic(),
        traffic_policy(),
        packet_rate_policy(),
        GuestAuto(),
    )
    return measure_saving(contenders, samples=parts, sample_s=sample_s)


def measure_own_bursts(parts: int, sample_s: float) -> tuple[SavingRow, ...]:
    """Simulate a day whose bursts are as fast at night, for those that save most."""
    return measure_saving(
        (AlwaysHighest(), DpdkTraffic(), packet_rate_policy(), GuestAuto()),
        samples=parts,
        sample_s=sample_s,
        has_own_bursts=True,
    )
