# SPDX-License-Identifier: Apache-2.0
"""The host of the simulation: the steps of its CPUs, and a model of its power.

A model, not a measurement: a package of 32 cores, of which 16 run polling vCPUs. The
rest runs a web server and the host's own work, which no contender changes. The draw of
a core is proportional to f V^2; between its lowest and highest step it spans 4.3 W, and
published figures of servers give 3.5 to 7 W between an idle core of a Xeon and a busy
one (SPECpower results of 2017 to 2026).
"""

from __future__ import annotations

from orchestrator.values.frequencies import table_from

STEPS = table_from(range(800_000, 3_400_000, 200_000), has_turbo=False)
"""Thirteen; ACPI's tables have at most 16."""
UNCORE_W = 45.0
"""Of the package without its cores."""
OTHERS_W = 7.5
"""Of the 16 cores that do not poll, on average."""
_KHZ_PER_GHZ = 1e6
_V0, _FLAT_GHZ, _V_PER_GHZ = 0.70, 1.2, 0.13
"""Volts are constant up to a frequency, and grow from there."""
_W_PER_GHZ_V2 = 1.6675
_LEAKAGE_W = 0.35


def core_w(khz: int) -> float:
    """Return the draw of a core that polls, in watts."""
    ghz = khz / _KHZ_PER_GHZ
    volts = _V0 + _V_PER_GHZ * max(0.0, ghz - _FLAT_GHZ)
    return _W_PER_GHZ_V2 * ghz * volts * volts + _LEAKAGE_W


CORE_W = {khz: core_w(khz) for khz in STEPS.khz}
"""By step."""
