# SPDX-License-Identifier: Apache-2.0
"""Other power managers: running, or enabled at boot, and TuneD's profile.

Source: TuneD's tuned.conf(5), its plugin_cpu (units of this type, by name or `type=`;
`include=`) and plugin_sysfs; for init scripts, Debian's package cpufrequtils.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.doctor.facts.units import read_units
from cli.doctor.facts.writes import is_attribute
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.tree_lock import Holder, find_holder
from orchestrator.system.power_managers import KNOWN, PowerManager, find_running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.doctor.target import Target

TUNED, TUNED_PPD, THERMALD = "TuneD", "tuned-ppd", "thermald"
_RUNNING = {**KNOWN, TUNED_PPD: (TUNED_PPD, TUNED_PPD), THERMALD: (THERMALD, THERMALD)}
_TUNED_UNIT = "tuned.service"
UNITS = frozenset(
    {
        "auto-cpufreq.service",
        "cpufreqd.service",
        "cpufrequtils.service",
        "cpupower.service",
        "laptop-mode.service",
        "loadcpufreq.service",
        "ondemand.service",
        "power-profiles-daemon.service",
        "tlp.service",
        _TUNED_UNIT,
    }
)
"""Some set frequencies at boot and exit, so there is no process to find."""
_INIT_SCRIPTS = "etc/rc[2-5].d/S[0-9][0-9]*"
_CPU, _SYSFS = "cpu", "sysfs"
_PROFILES = (
    "etc/tuned/profiles",
    "etc/tuned",
    "usr/lib/tuned/profiles",
    "usr/lib/tuned",
)
"""Local profiles first; TuneD 2.24 moved both directories."""
_MAX_INCLUDES = 8
_OFF = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerManagers:
    """All known power managers of the host."""

    running: tuple[PowerManager, ...]
    units: tuple[str, ...]
    """Enabled at boot, without TuneD's."""
    is_tuned_enabled: bool
    tuned_profile: str
    """The active profile; empty: none."""
    tuned_cpu: Mapping[str, str]
    """Options of type cpu of the profile and of those that it includes, and those of
    type sysfs that set attributes of cpufreq."""
    holder: Holder | None
    """The daemon that controls the CPU tree now."""

    def running_as(self, name: str) -> list[PowerManager]:
        """Return the running processes of one of them."""
        return [manager for manager in self.running if manager.name == name]


def read_power_managers(target: Target) -> PowerManagers:
    """Search /proc, /etc and /usr/lib."""
    profile = target.read("etc/tuned/active_profile").strip()
    enabled = _read_enabled(target)
    return PowerManagers(
        running=tuple(find_running(target.path("proc"), _RUNNING)),
        units=tuple(sorted(enabled - {_TUNED_UNIT})),
        is_tuned_enabled=_TUNED_UNIT in enabled,
        tuned_profile=profile,
        tuned_cpu=_tuned_cpu(target, profile.split()),
        holder=find_holder(CpuTree(target.cpu_root), proc=target.path("proc")),
    )


def _read_enabled(target: Target) -> set[str]:
    scripts = (path.name[len("S01") :] for path in target.root.glob(_INIT_SCRIPTS))
    found = {f"{name}.service" for name in scripts}
    return (found | {unit.name for unit in read_units(target)}) & UNITS


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
    for section in parser.sections():
        options = {key: value or "" for key, value in parser.items(section)}
        if options.get("enabled", "") in _OFF:
            continue
        kind = options.pop("type", section)
        if kind == _CPU:
            found |= options
        elif kind == _SYSFS:
            found |= {key: it for key, it in options.items() if is_attribute(key)}
    return found
