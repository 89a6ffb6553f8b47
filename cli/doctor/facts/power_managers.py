# SPDX-License-Identifier: Apache-2.0
"""Other power managers: running, or enabled at boot, and TuneD's profile.

Source: TuneD's tuned.conf(5) and its plugin_cpu (section [cpu], `include=`);
systemd.unit(5): an enabled unit is a link in a `.wants` directory.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.power.sysfs import CpuTree
from orchestrator.power.tree_lock import Holder, find_holder
from orchestrator.system.power_managers import PowerManager, find_running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.doctor.target import Target

_UNITS = ("cpupower.service", "tlp.service", "cpufrequtils.service")
"""They set frequencies at boot and exit, so there is no process to find."""
_WANTS = "etc/systemd/system/multi-user.target.wants"
_PROFILES = (
    "etc/tuned/profiles",
    "etc/tuned",
    "usr/lib/tuned/profiles",
    "usr/lib/tuned",
)
"""Local profiles first; TuneD 2.24 moved both directories."""
_MAX_INCLUDES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerManagers:
    """All known power managers of the host."""

    running: tuple[PowerManager, ...]
    units: tuple[str, ...]
    """Enabled at boot."""
    tuned_profile: str
    """The active profile; empty: none."""
    tuned_cpu: Mapping[str, str]
    """Section [cpu] of the profile and of those that it includes."""
    holder: Holder | None
    """The daemon that controls the CPU tree now."""


def read_power_managers(target: Target) -> PowerManagers:
    """Search /proc, /etc and /usr/lib."""
    profile = target.read("etc/tuned/active_profile").strip()
    wants = target.path(_WANTS)
    return PowerManagers(
        running=tuple(find_running(target.path("proc"))),
        # lexists: the unit itself may be missing in a copy.
        units=tuple(unit for unit in _UNITS if os.path.lexists(wants / unit)),
        tuned_profile=profile,
        tuned_cpu=_tuned_cpu(target, profile.split()),
        holder=find_holder(CpuTree(target.cpu_root), proc=target.path("proc")),
    )


def _tuned_cpu(target: Target, profiles: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for profile in profiles:
        found |= _section(target, profile, _MAX_INCLUDES)
    return found


def _section(target: Target, profile: str, depth: int) -> dict[str, str]:
    """Read section [cpu] of a profile, merged over the profiles that it includes."""
    text = next(
        filter(None, (target.read(f"{d}/{profile}/tuned.conf") for d in _PROFILES)), ""
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
        found |= _section(target, name, depth - 1)
    if parser.has_section("cpu"):
        found |= {key: value or "" for key, value in parser.items("cpu")}
    return found
