# SPDX-License-Identifier: Apache-2.0
"""What QEMU asks its RAPL helper, and a domain's energy in the form of its answers.

Theory of operation: QEMU gives a guest RAPL registers. Once a second it asks a helper
for the energy counter of each package of the host that its threads are on, and gives
the guest the share of the growth that its threads had of the package's CPU time:
ticks / (100 x CPUs of the package). So it would give a guest that polls at a low
frequency the same energy as one at the highest. Here the answer is the counter of a
**virtual package**, all of whose CPUs draw what the CPUs of the domain do: it grows by
joules / CPU-seconds of the domain x CPUs x time. QEMU's share of that is what the
domain drew.

Source: docs/specs/rapl-msr.rst of QEMU (the shares), and its qemu-vmsr-helper (the
questions); Intel SDM volume 3B, 15.10 (the registers).
"""

from __future__ import annotations

import math
import struct

QUESTION = struct.Struct("=3L")
"""A register, a CPU of the host, a thread of QEMU; in the byte order of the host."""
ANSWER = struct.Struct("=Q")

POWER_UNIT, POWER_LIMIT, ENERGY_STATUS, POWER_INFO = 0x606, 0x610, 0x611, 0x614
_JOULES_BITS, _WATTS_BITS, _SECONDS_BITS = 14, 3, 10
_MOST_WATTS = 2_000
"""No processor draws that: the thermal power of the virtual package."""
CONSTANTS = {
    POWER_UNIT: _SECONDS_BITS << 16 | _JOULES_BITS << 8 | _WATTS_BITS,
    POWER_LIMIT: 1 << 63,  # locked, and none is enabled
    POWER_INFO: _MOST_WATTS << _WATTS_BITS,
}
"""Registers that do not change. QEMU does not start with a zero in one of them."""


def in_units(joules: float) -> int:
    """Return an energy as the counter has it: it has 64 bits, and does not wrap."""
    return math.floor(joules * (1 << _JOULES_BITS))


class Ramp:
    """The joules that each CPU of a virtual package has drawn.

    It grows evenly over the time of the next interval, and so is an interval late: QEMU
    asks between samples, and must not find two of them in one second and none in the
    next.
    """

    def __init__(self) -> None:
        self._before = self._after = 0.0
        self._began_s = 0.0
        self._duration_s = 1.0

    def add(self, joules: float, run_s: float, duration_s: float, now_s: float) -> None:
        """Add an interval.

        Args:
            joules: what the domain drew in it.
            run_s: CPU-seconds of its threads in it.
            duration_s: its length.
            now_s: the time (monotonic), not before the interval's end.
        """
        self._before = self.at(now_s)
        if run_s > 0 and joules > 0:
            is_likely = joules < _MOST_WATTS * run_s
            watts = joules / run_s if is_likely else _MOST_WATTS
            self._after += watts * duration_s
        self._began_s, self._duration_s = now_s, duration_s

    def at(self, now_s: float) -> float:
        """Return what one CPU has drawn at a time; it never falls."""
        share = min(1.0, max(0.0, (now_s - self._began_s) / self._duration_s))
        joules = self._before + share * (self._after - self._before)
        # The sum may be rounded up.
        return min(joules, self._after)
