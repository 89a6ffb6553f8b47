# SPDX-License-Identifier: Apache-2.0
"""Lists of CPUs, as people write them (``2-5,8,^3``) and as the kernel prints them.

vCPUs and channels are listed in the same way.

Source: libvirt's cpuset syntax (formatdomain, "CPU Tuning") and the kernel's cpulist
(Documentation/admin-guide/cputopology.rst).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CPU = 8191
"""Highest valid CPU number: Linux's own limit, NR_CPUS on x86-64 and arm64."""
_SHOWN = 40
_MAX_DIGITS = 10


def parse_cpulist(text: str, *, noun: str = "CPU") -> frozenset[int]:
    """Parse ``0-3,8,^2`` into a set; later terms override earlier ones.

    Args:
        text: decimal numbers and ranges, separated by commas; ``^N`` removes N. Blank
            text is the empty set, as in the kernel's files.
        noun: what the numbers stand for, in error messages.

    Raises:
        ConfigError: a term is not a number or range, or is out of range.
    """
    cpus: set[int] = set()
    for term in text.strip().split(",") if text.strip() else ():
        word = term.strip()
        if word.startswith("^"):
            cpus -= _parse_range(word[1:], noun)
        else:
            cpus |= _parse_range(word, noun)
    return frozenset(cpus)


def _parse_range(word: str, noun: str) -> set[int]:
    first, dash, last = word.partition("-")
    if not (_is_number(first) and (_is_number(last) if dash else True)):
        raise ConfigError(
            f"invalid {noun} '{word[:_SHOWN]}':"
            " expected numbers and ranges, as in 2-5,8"
        )
    low, high = _to_int(first), _to_int(last or first)
    if low > high:
        raise ConfigError(
            f"invalid {noun} range '{word[:_SHOWN]}': start is greater than end"
        )
    if high > MAX_CPU:
        raise ConfigError(f"invalid {noun} '{word[:_SHOWN]}': the highest is {MAX_CPU}")
    return set(range(low, high + 1))


def _is_number(word: str) -> bool:
    # isdigit() alone accepts superscripts, which int() refuses.
    return word.isascii() and word.isdigit()


def _to_int(word: str) -> int:
    # int() raises another error for thousands of digits.
    return int(word) if len(word) <= _MAX_DIGITS else MAX_CPU + 1


def format_cpulist(cpus: Iterable[int]) -> str:
    """Format CPUs as the kernel does: ``0-3,8``; ``-`` for none."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in ranges) or "-"


def name_all(word: str, numbers: Iterable[int]) -> str:
    """Format numbered things for people: `channel 3`, or `channels 0-3`."""
    named = format_cpulist(numbers)
    return f"{word} {named}" if named.isdecimal() else f"{word}s {named}"


def name_cpus(cpus: Iterable[int]) -> str:
    """Format CPUs for people: `CPU 3`, or `CPUs 2-5,8`."""
    return name_all("CPU", cpus)
