"""Lists of CPUs as people write them (``2-5,8,^3``) and as the kernel prints them.

Source: libvirt's cpuset syntax (formatdomain, "CPU Tuning") and the kernel's cpulist
(Documentation/admin-guide/cputopology.rst).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CPU = 8191
"""Highest CPU number accepted: Linux's own limit, NR_CPUS on x86-64 and arm64."""


def parse_cpulist(text: str) -> frozenset[int]:
    """Turn ``0-3,8,^2`` into a set; later terms override earlier ones.

    Args:
        text: decimal numbers and ranges, separated by commas; ``^N`` takes N away.
            Blank text is the empty set, as in the kernel's files.

    Raises:
        ConfigError: a term is no number or range, or goes backwards or too far.
    """
    cpus: set[int] = set()
    for term in text.strip().split(",") if text.strip() else ():
        word = term.strip()
        if word.startswith("^"):
            cpus -= _parse_range(word[1:], text)
        else:
            cpus |= _parse_range(word, text)
    return frozenset(cpus)


def _parse_range(word: str, text: str) -> set[int]:
    first, dash, last = word.partition("-")
    if not (_is_number(first) and (_is_number(last) if dash else True)):
        raise ConfigError(
            f"'{word}' in CPU list '{text}' is no CPU", hint="write 2-5,8"
        )
    low, high = int(first), int(last or first)
    if low > high or high > MAX_CPU:
        raise ConfigError(
            f"'{word}' in CPU list '{text}' is no range of CPUs",
            hint=f"lowest first, none above {MAX_CPU}",
        )
    return set(range(low, high + 1))


def _is_number(word: str) -> bool:
    # isdigit() alone accepts superscripts, which int() refuses.
    return word.isascii() and word.isdigit()


def format_cpulist(cpus: Iterable[int]) -> str:
    """Write CPUs as the kernel does: ``0-3,8``; ``-`` for none."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in ranges) or "-"


def name_all(word: str, numbers: Iterable[int]) -> str:
    """Write `channel 3` or `channels 0-3`."""
    named = format_cpulist(numbers)
    return f"{word} {named}" if named.isdecimal() else f"{word}s {named}"


def name_cpus(cpus: Iterable[int]) -> str:
    """Write CPUs for people: `CPU 3`, or `CPUs 2-5,8`."""
    numbers = frozenset(cpus)
    return f"CPU{'s' if len(numbers) != 1 else ''} {format_cpulist(numbers)}"
