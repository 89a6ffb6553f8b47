# SPDX-License-Identifier: Apache-2.0
"""What to write to a limit of the kernel, given what it reads as; pure.

The kernel shows one value of each limit: what was written last, narrowed further by the
firmware (bios_limit), by a cooling device, or because boost was switched off. What
vmpowerd wrote is remembered, so that a value read is one of three:

* one of ours: the limit of the others is the original;
* wider than ours: another program wrote it. It is the new original, and ours is
  written again;
* narrower than ours: another program or a cooling device. It is left as it is, and is
  the limit of the others until it ends.

Source: drivers/cpufreq/cpufreq.c of the kernel (store_one, cpufreq_set_policy),
drivers/acpi/processor_perflib.c (bios_limit), drivers/cpufreq/acpi-cpufreq.c (boost).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.power.held_journal import HeldValue
from orchestrator.power.held_values import Change
from orchestrator.power.sysfs import first_line

if TYPE_CHECKING:
    from collections.abc import Callable


class Found(NamedTuple):
    """An attribute as it was read."""

    path: str
    value: bytes
    khz: int


class LimitChange(NamedTuple):
    """What is to be done about one limit."""

    write: Change
    foreign: bytes | None = None
    """Another program's value, to be written again if the write has changed it."""


class Plan(NamedTuple):
    """What a limit is now, and what is to be done about it."""

    others_khz: int
    """The limit of the others."""
    change: LimitChange | None = None

    @property
    def written_khz(self) -> int | None:
        """The value that the change writes; None: none is written."""
        if self.change is None:
            return None
        _path, held, value = self.change.write
        return original_khz(held) if value is None else int(value)


def original_khz(held: HeldValue) -> int:
    """Return the value of a limit that vmpowerd has narrowed, before that."""
    return int(first_line(held.original))


def current_khz(held: HeldValue) -> int:
    """Return what vmpowerd has written last."""
    return int(held.ours[-1])


def is_ours(found: Found, held: HeldValue) -> bool:
    """Whether a value is one that vmpowerd has written."""
    return str(found.khz) in held.ours


def plan_max(
    found: Found, held: HeldValue, wanted_khz: int, bios_khz: int | None
) -> Plan:
    """Decide about a maximum that vmpowerd has narrowed.

    Args:
        found: as it was read.
        held: what vmpowerd has written.
        wanted_khz: what is wanted now.
        bios_khz: the firmware's limit; None: none.
    """
    seen_khz = found.khz if is_ours(found, held) else None
    if found.khz == bios_khz:
        is_hidden = found.khz < current_khz(held)
        seen_khz = current_khz(held) if is_hidden else found.khz
    plan = _plan_held(found, held, wanted_khz, seen_khz, narrower=min)
    if seen_khz is None or bios_khz is None:
        return plan
    return plan._replace(others_khz=min(plan.others_khz, bios_khz))


def plan_min(
    found: Found, held: HeldValue | None, wanted_khz: int, max_read_khz: int
) -> Plan:
    """Decide about a minimum.

    Args:
        found: as it was read.
        held: what vmpowerd has written; None: nothing.
        wanted_khz: what is wanted now.
        max_read_khz: the maximum as it was read with it.
    """
    if held is None:
        return Plan(found.khz, plan_new(found, max(found.khz, wanted_khz)))
    seen_khz = found.khz if is_ours(found, held) else None
    # The kernel shows a minimum above the maximum as the maximum.
    if found.khz == max_read_khz and found.khz < current_khz(held):
        seen_khz = current_khz(held)
    return _plan_held(found, held, wanted_khz, seen_khz, narrower=max)


def plan_new(
    original: Found, target_khz: int, held: HeldValue | None = None
) -> LimitChange | None:
    """Write a limit over the value of another program, which is the original."""
    if target_khz == original.khz:
        return None
    ours = held.ours if held else ()
    return _write(original.path, HeldValue(original.value, ours), target_khz)


def _plan_held(
    found: Found,
    held: HeldValue,
    wanted_khz: int,
    seen_khz: int | None,
    *,
    narrower: Callable[[int, int], int],
) -> Plan:
    """Decide about a limit that vmpowerd has narrowed.

    Args:
        found: as it was read.
        held: what vmpowerd has written.
        wanted_khz: what is wanted now.
        seen_khz: the value that was written last, if it is known to be the kernel's
            reason for what is read; None: the value is another program's.
        narrower: which of two limits permits less.
    """
    before_khz = original_khz(held)
    if seen_khz is not None:
        target_khz = narrower(before_khz, wanted_khz)
        return Plan(before_khz, _adjust(found.path, seen_khz, held, target_khz))
    if narrower(found.khz, current_khz(held)) != found.khz:
        held = held._replace(original=found.value)
        target_khz = narrower(found.khz, wanted_khz)
        return Plan(found.khz, _adjust(found.path, found.khz, held, target_khz))
    if narrower(before_khz, wanted_khz) == before_khz:
        return Plan(found.khz, _release(found.path, held, foreign=found.value))
    target_khz = narrower(found.khz, wanted_khz)
    return Plan(found.khz, plan_new(found, target_khz, held))


def _adjust(
    path: str, seen_khz: int, held: HeldValue, target_khz: int
) -> LimitChange | None:
    """Write another value of our own, or the original."""
    if target_khz == original_khz(held):
        return _release(path, held)
    if target_khz == seen_khz:
        return None
    return _write(path, held, target_khz)


def _write(path: str, held: HeldValue, khz: int) -> LimitChange:
    value = str(khz)
    ours = (*(old for old in held.ours if old != value), value)
    return LimitChange(Change(path, held._replace(ours=ours), value))


def _release(
    path: str, held: HeldValue, *, foreign: bytes | None = None
) -> LimitChange:
    # Also if the original is read: the kernel may show it although it was overwritten.
    return LimitChange(Change(path, held, None), foreign)
