# SPDX-License-Identifier: Apache-2.0
"""The kernel's attributes that main holds at a value: the one table of them.

Each is a file that reads as it was written, apart from other spellings of one value.
What is common to all of them is in `held_attributes`; a kind has the pattern of its
files and the differences. A journal of held attributes may name only files of a kind.

Source: Documentation/admin-guide/pm/{cpuidle,intel_pstate,amd-pstate,
intel_uncore_frequency_scaling}.rst and Documentation/ABI/testing/
sysfs-devices-system-cpu of the kernel.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from orchestrator.errors import SysfsError
from orchestrator.power.idle_states import (
    NO_LIMIT,
    parse_latency,
    permitted,
    read_idle_states,
)
from orchestrator.power.mechanisms.limits import PERFORMANCE, PREFERENCE
from orchestrator.power.mechanisms.opening import GOVERNOR
from orchestrator.power.sysfs import CPU_DIR
from orchestrator.values.cpuset import name_all
from orchestrator.values.energy_preference import canonical_preference
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.power.sysfs import CpuTree

    WantedOf = Callable[[str], str | None]
    """Returns what is wanted of an attribute, by path; None: nothing."""


class Scope(Enum):
    """What an attribute belongs to."""

    CPU = "CPU"
    GROUP = "clock group"
    DIE = "die"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeKind:
    """One row of the table."""

    noun: str
    """For people."""
    scope: Scope
    every: str
    """Pattern of the paths of all its files, relative to the root of the CPU tree. As
    the key of what is wanted, it means each file that no key names."""
    canonical: Callable[[str], str] = str
    """Returns the one spelling of a value that is read or written."""
    is_enough: Callable[[str, str], bool] = str.__eq__
    """Returns whether a value that the kernel shows (first) makes it unnecessary to
    write the wanted one (second)."""
    show: Callable[[str], str] = str
    """Writes a value for people."""
    find_cover: Callable[[CpuTree, str, str], str] = lambda _tree, _path, _shown: ""
    """Returns what hides the attribute's own value now, for people, so that the shown
    one proves nothing and no write is accepted; empty: nothing."""
    find_obstacle: Callable[[CpuTree, str, str, WantedOf], str] = (
        lambda _tree, _path, _value, _wanted_of: ""
    )
    """Returns why a value cannot be written, for people; empty: it can."""
    find_effect: Callable[[CpuTree, str, str], tuple[str, ...]] = (
        lambda _tree, _path, _shown: ()
    )
    """Returns what a value permits, for people."""
    is_upper_limit: bool = False
    """Whether it is the upper of two limits, which the kernel does not clamp: it is
    raised before the lower one is written, and lowered after."""
    is_set_with_governor: bool = False
    """Whether taking a clock group may change it: it is left alone while suspended."""

    def path_of(self, number: int) -> str:
        """Return the path of the file of a CPU or of a clock group."""
        return self.every.replace("*", str(number))

    def number_of(self, path: str) -> int:
        """Return the first number in the name of a file; 0 without any."""
        match = _pattern_of(self).fullmatch(path)
        return int(match[1]) if match and match.lastindex else 0

    def has(self, path: str) -> bool:
        """Return whether a path is one of its files."""
        return _pattern_of(self).fullmatch(path) is not None


@functools.cache
def _pattern_of(kind: AttributeKind) -> re.Pattern[str]:
    parts = map(re.escape, kind.every.split("*"))
    return re.compile("([0-9]{1,5})".join(parts), re.ASCII)


def _canonical_latency(word: str) -> str:
    latency_us = parse_latency(word)
    return word if not latency_us or word == NO_LIMIT else f"{int(word)}"


def _is_strict_enough(shown: str, wanted: str) -> bool:
    shown_us, wanted_us = parse_latency(shown), parse_latency(wanted)
    return shown_us is not None and wanted_us is not None and shown_us <= wanted_us


def _show_latency(word: str) -> str:
    latency_us = parse_latency(word)
    if latency_us is None:
        return word
    return "no limit" if word == NO_LIMIT else f"at most {latency_us:g} us"


def _permitted_states(tree: CpuTree, path: str, shown: str) -> tuple[str, ...]:
    states = read_idle_states(tree, IDLE_LATENCY.number_of(path))
    return permitted(states, shown)


def _beside(path: str, name: str) -> str:
    return f"{path.rpartition('/')[0]}/{name}"


def _read(tree: CpuTree, path: str) -> str:
    try:
        return tree.read(path)
    except SysfsError:
        return ""


def _performance_governor(tree: CpuTree, path: str, shown: str) -> str:
    """Return whether the governor sets the preference.

    With governor performance the preference is performance, and the kernel refuses
    (EBUSY) every other one. intel_pstate shows the earlier one again afterwards,
    amd-pstate does not (measured with Linux 6.1, 6.12).
    """
    is_covered = _read(tree, _beside(path, GOVERNOR)) == PERFORMANCE
    if shown == "performance" and is_covered:
        return "the governor is performance"
    return ""


def _unavailable_preference(
    tree: CpuTree, path: str, value: str, _wanted_of: WantedOf
) -> str:
    listed = _beside(path, "energy_performance_available_preferences")
    available = _read(tree, listed).split()
    if not available or value.isdigit() or value in available:
        return ""
    return f"invalid energy preference '{value}': expected {', '.join(available)}"


def _crossed_limits(tree: CpuTree, path: str, value: str, wanted_of: WantedOf) -> str:
    is_max = UNCORE_MAX.has(path)
    name = "min_freq_khz" if is_max else "max_freq_khz"
    other = _beside(path, name)
    word = wanted_of(other) or _read(tree, other)
    if not word.isdigit():
        return ""
    if (int(value) < int(word)) if is_max else (int(value) > int(word)):
        side = "below its minimum" if is_max else "above its maximum"
        return f"{_show_khz(value)} is {side}, {_show_khz(word)}"
    return ""


def _canonical_khz(word: str) -> str:
    """Round down as the kernel does."""
    if not (word.isascii() and word.isdigit()):
        return word
    return str(int(word) // _UNCORE_STEP_KHZ * _UNCORE_STEP_KHZ)


def _show_khz(word: str) -> str:
    return format_khz(int(word)) if word.isdigit() else word


_UNCORE_STEP_KHZ = 100_000
_DIE = f"{CPU_DIR}/intel_uncore_frequency/package_*_die_*"
_SWITCHED = {"0": "off", "1": "on"}
_SWITCHED_OFF = {"0": "on", "1": "off"}

IDLE_LATENCY = AttributeKind(
    noun="idle latency",
    scope=Scope.CPU,
    every=f"{CPU_DIR}/cpu*/power/pm_qos_resume_latency_us",
    canonical=_canonical_latency,
    is_enough=_is_strict_enough,
    show=_show_latency,
    find_effect=_permitted_states,
)
ENERGY_PREFERENCE = AttributeKind(
    noun="energy preference",
    scope=Scope.GROUP,
    every=f"{CPU_DIR}/cpufreq/policy*/{PREFERENCE}",
    canonical=canonical_preference,
    find_cover=_performance_governor,
    find_obstacle=_unavailable_preference,
    is_set_with_governor=True,
)
UNCORE_MIN = AttributeKind(
    noun="lowest uncore frequency",
    scope=Scope.DIE,
    every=f"{_DIE}/min_freq_khz",
    canonical=_canonical_khz,
    show=_show_khz,
    find_obstacle=_crossed_limits,
)
UNCORE_MAX = AttributeKind(
    noun="highest uncore frequency",
    scope=Scope.DIE,
    every=f"{_DIE}/max_freq_khz",
    canonical=_canonical_khz,
    show=_show_khz,
    find_obstacle=_crossed_limits,
    is_upper_limit=True,
)
BOOST = AttributeKind(
    noun="turbo (cpufreq/boost)",
    scope=Scope.HOST,
    every=f"{CPU_DIR}/cpufreq/boost",
    show=lambda word: _SWITCHED.get(word, word),
)
NO_TURBO = AttributeKind(
    noun="turbo (intel_pstate/no_turbo)",
    scope=Scope.HOST,
    every=f"{CPU_DIR}/intel_pstate/no_turbo",
    show=lambda word: _SWITCHED_OFF.get(word, word),
)

KINDS = (IDLE_LATENCY, ENERGY_PREFERENCE, UNCORE_MIN, UNCORE_MAX, BOOST, NO_TURBO)


@functools.lru_cache(maxsize=16_384)
def kind_of(path: str) -> AttributeKind:
    """Return the kind of a file, or of the pattern of all files of a kind.

    Raises:
        KeyError: it is not an attribute that main holds.
    """
    for kind in KINDS:
        if kind.every == path or kind.has(path):
            return kind
    raise KeyError(path)


def name_attributes(paths: Iterable[str]) -> str:
    """Name attributes for people: `idle latency of CPUs 2-5`."""
    by_kind: dict[AttributeKind, list[str]] = {}
    for path in sorted(paths):
        by_kind.setdefault(kind_of(path), []).append(path)
    return ", ".join(_name(kind, found) for kind, found in by_kind.items())


def _name(kind: AttributeKind, paths: list[str]) -> str:
    if kind.scope is Scope.HOST or kind.every in paths:
        return kind.noun
    if kind.scope is Scope.DIE:
        return f"{kind.noun} of {', '.join(path.split('/')[-2] for path in paths)}"
    numbers = map(kind.number_of, paths)
    return f"{kind.noun} of {name_all(kind.scope.value, numbers)}"
