"""Others who set clocks: power managers that run or start at boot, their profiles.

Source: TuneD's tuned.conf(5) and its plugin_cpu (section [cpu], `include=`); systemd's
way to enable a unit, a link in a `.wants` directory.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.power.sysfs import CpuTree
from orchestrator.power.tree_lock import Holder, find_holder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli.doctor.places import Places

_KNOWN = {
    "tuned": "TuneD",
    "power-profiles-": "power-profiles-daemon",
    "auto-cpufreq": "auto-cpufreq",
    "cpufreqd": "cpufreqd",
    "vm_power_manage": "DPDK's vm_power_manager",
    "dpdk-vm_power_m": "DPDK's vm_power_manager",
}
"""By the name of the process, of which the kernel keeps 15 bytes."""
_UNITS = ("cpupower.service", "tlp.service", "cpufrequtils.service")
"""They set clocks once, at boot, so that no process tells of them."""
_WANTS = "etc/systemd/system/multi-user.target.wants"
_PROFILES = (
    "etc/tuned/profiles",
    "etc/tuned",
    "usr/lib/tuned/profiles",
    "usr/lib/tuned",
)
"""TuneD 2.24 moved them; the operator's go first."""
_MAX_INCLUDES = 8


@dataclass(frozen=True, slots=True)
class Rival:
    """A power manager that runs."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """All that we know to look for."""

    running: tuple[Rival, ...]
    units: tuple[str, ...]
    """Enabled at boot."""
    tuned_profile: str
    """The active profile; empty: none."""
    tuned_cpu: Mapping[str, str]
    """What the section [cpu] of the profile says, those that it includes too."""
    holder: Holder | None
    """Who enforces on the CPU tree now."""


def read_rivals(places: Places) -> Rivals:
    """Style for them in /proc, /etc and /usr/lib."""
    profile = places.read("etc/tuned/active_profile").strip()
    wants = places.path(_WANTS)
    return Rivals(
        running=tuple(_running(places)),
        # A link to a unit that is gone is still a link.
        units=tuple(unit for unit in _UNITS if os.path.lexists(wants / unit)),
        tuned_profile=profile,
        tuned_cpu=_tuned_cpu(places, profile.split()),
        holder=find_holder(CpuTree(places.cpu_root), proc=places.path("proc")),
    )


def _running(places: Places) -> Iterator[Rival]:
    seen = set()
    for directory in sorted(places.path("proc").glob("[0-9]*")):
        name = _KNOWN.get(places.read(f"proc/{directory.name}/comm").strip())
        if name and name not in seen:
            seen.add(name)
            yield Rival(name, int(directory.name))


def _tuned_cpu(places: Places, profiles: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for profile in profiles:
        found |= _section(places, profile, _MAX_INCLUDES)
    return found


def _section(places: Places, profile: str, depth: int) -> dict[str, str]:
    """Read [cpu] of a profile over that of those that it includes."""
    text = next(
        filter(None, (places.read(f"{d}/{profile}/tuned.conf") for d in _PROFILES)), ""
    )
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, allow_no_value=True
    )
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    found: dict[str, str] = {}
    includes = parser.get("main", "include", fallback=None) or ""
    for name in includes.replace(",", " ").split() if depth else ():
        found |= _section(places, name, depth - 1)
    if parser.has_section("cpu"):
        found |= {key: value or "" for key, value in parser.items("cpu")}
    return found
