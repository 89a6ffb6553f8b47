# SPDX-License-Identifier: Apache-2.0
"""What processors of a class draw, as published: where nothing was measured here.

Source: medians of the SPECpower_ssj2008 results of two-socket servers (one-socket for
Altra), as collected in ccf-coefficients, SPECpower-2026-03-09.csv: active idle, and
full load minus idle by core. They are of whole servers at the wall; which part of them
the processors draw is estimated here, and that makes each figure that is derived from
them uncertain by a third.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.energy.curves import Curve

_PACKAGES_OF_IDLE = 0.6
"""Share of an idle server's power that its processors draw; the rest is memory, fans,
disks and the losses of power supplies."""
_PACKAGES_OF_LOAD = 0.8
"""The same of what load adds."""
IDLE_CORE_W = 0.15
"""A core in a deep idle state."""
PROFILE_ERROR = 0.33
"""Uncertainty of what is derived from a profile."""
_FLAT_BELOW = 0.375
"""Below this share of the highest frequency the voltage stays the same."""
_VOLTAGE_RISE = 0.59
"""How much the voltage rises from there to the highest frequency, relative to the
lowest voltage."""
_LEAKAGE = 0.07
"""Share of a busy core's highest power that does not depend on the frequency."""
_CURVE_POINTS = 12


class Profile(NamedTuple):
    """A class of processors; watts of a server with `sockets` of them, at the wall."""

    name: str
    idle_w: float
    core_w: float
    """What load adds, by core."""
    sockets: int = 2

    @property
    def static_w(self) -> float:
        """Estimated power of one package with all cores idle."""
        return self.idle_w * _PACKAGES_OF_IDLE / self.sockets

    @property
    def busy_core_w(self) -> float:
        """Estimated power of a core with all its work at the highest frequency."""
        return self.core_w * _PACKAGES_OF_LOAD

    def curve(self, lowest_khz: int, highest_khz: int) -> Curve:
        """Return the power of a busy core: leakage, and frequency times voltage².

        Args:
            lowest_khz: where the curve begins.
            highest_khz: where a core draws `busy_core_w`.
        """
        span = highest_khz - lowest_khz
        points = sorted(
            {lowest_khz + span * n // (_CURVE_POINTS - 1) for n in range(_CURVE_POINTS)}
        )
        top = _relative_power(1.0)
        watts = (_relative_power(khz / highest_khz) / top for khz in points)
        return Curve(tuple(points), tuple(self.busy_core_w * it for it in watts))


def _relative_power(share: float) -> float:
    """Return the power at a share of the highest frequency, in no particular unit."""
    above = max(0.0, share - _FLAT_BELOW) / (1 - _FLAT_BELOW)
    highest = (1 + _VOLTAGE_RISE) ** 2
    return (
        _LEAKAGE * highest + (1 - _LEAKAGE) * share * (1 + _VOLTAGE_RISE * above) ** 2
    )


GENERIC = Profile("the median of the known classes", 129.0, 5.3)
_XEON_1 = Profile("Xeon Scalable, first generation", 52.0, 7.1)
_XEON_2 = Profile("Xeon Scalable, second generation", 52.0, 6.5)
_XEON_3 = Profile("Xeon Scalable, third generation", 131.0, 6.2)
_XEON_4 = Profile("Xeon Scalable, fourth generation", 163.0, 5.6)
_XEON_5 = Profile("Xeon Scalable, fifth generation", 170.0, 5.0)
_XEON_6 = Profile("Xeon 6", 205.0, 3.5)
_EPYC_7 = Profile("EPYC 7001 to 7003", 95.0, 2.7)
_EPYC_9 = Profile("EPYC 9004 and 9005", 126.0, 2.2)
_ALTRA = Profile("Ampere Altra", 143.0, 1.0, sockets=1)
_PROFILES = {
    ("GenuineIntel", 0x06, 0x55): _XEON_1,
    ("GenuineIntel", 0x06, 0x6A): _XEON_3,
    ("GenuineIntel", 0x06, 0x6C): _XEON_3,
    ("GenuineIntel", 0x06, 0x8F): _XEON_4,
    ("GenuineIntel", 0x06, 0xCF): _XEON_5,
    ("GenuineIntel", 0x06, 0xAD): _XEON_6,
    ("GenuineIntel", 0x06, 0xAF): _XEON_6,
    ("AuthenticAMD", 0x17, 0x01): _EPYC_7,
    ("AuthenticAMD", 0x17, 0x31): _EPYC_7,
    ("AuthenticAMD", 0x19, 0x01): _EPYC_7,
    ("AuthenticAMD", 0x19, 0x11): _EPYC_9,
    ("AuthenticAMD", 0x19, 0xA0): _EPYC_9,
    ("AuthenticAMD", 0x1A, 0x02): _EPYC_9,
    ("AuthenticAMD", 0x1A, 0x11): _EPYC_9,
}
"""By vendor, family and model. Source: arch/x86/include/asm/intel-family.h, and for AMD
drivers/edac/amd64_edac.c."""
_CASCADE_LAKE_STEPPING = 5
"""The second generation has the model number of the first."""
_NEOVERSE_N1 = ("0x41", "0xd0c")


def find_profile(cpuinfo: str) -> Profile:
    """Return the class of a host's processors.

    Args:
        cpuinfo: the contents of /proc/cpuinfo.
    """
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    if (fields.get("CPU implementer"), fields.get("CPU part")) == _NEOVERSE_N1:
        return _ALTRA
    family, model, stepping = (
        int(fields[name]) if fields.get(name, "").isdecimal() else 0
        for name in ("cpu family", "model", "stepping")
    )
    found = _PROFILES.get((fields.get("vendor_id", ""), family, model), GENERIC)
    if found is _XEON_1 and stepping >= _CASCADE_LAKE_STEPPING:
        return _XEON_2
    return found


def find_model_name(cpuinfo: str) -> str:
    """Return the processors' model, to recognize a calibration of other ones."""
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() in ("model name", "CPU part"):
            return value.strip()
    return ""
