# SPDX-License-Identifier: Apache-2.0
"""What the checks of `contract` do to clock groups, and what they read of them.

As the checks, these functions run inside a small guest without further packages.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import SysfsError
from orchestrator.limits import Limits
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.kernel_limits import MAX, MIN
from orchestrator.power.limit_journal import LimitJournal
from orchestrator.power.mechanisms.limits import PREFERENCE
from orchestrator.power.mechanisms.registry import MECHANISMS, find_mechanism
from orchestrator.power.topology import (
    Topology,
    read_current_khz,
)
from orchestrator.power.writer import WRITERS
from tests.power.registers import VARIABLE, requested_khz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.power.group import ClockGroup, PreparedGroup
    from orchestrator.power.mechanisms.contract import Mechanism
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.domain import PCpu

_WRITABLE = (
    "scaling_governor",
    "scaling_setspeed",
    "scaling_min_freq",
    "scaling_max_freq",
    PREFERENCE,
)
_REGISTER_UNIT_KHZ = 15_000


def settings(tree: CpuTree, topology: Topology) -> dict[str, bytes]:
    """Read all attributes that may be changed."""
    paths = [group.path(name) for group in topology.groups for name in _WRITABLE]
    return {
        path: tree.read_bytes(path) for path in paths if (tree.root / path).exists()
    }


def set_distinct_governors(tree: CpuTree, topology: Topology) -> None:
    """Give neighbouring groups different governors, to detect mix-ups."""
    for index, group in enumerate(topology.groups):
        name = ("performance", "powersave")[index % 2]
        (tree.root / group.path("scaling_governor")).write_text(f"{name}\n")


def prepare(
    tree: CpuTree, group: ClockGroup, stack: ExitStack
) -> tuple[Mechanism, PreparedGroup]:
    mechanism = find_mechanism(group.mechanism)
    return mechanism, stack.enter_context(closing(mechanism.prepare(tree, group)))


def set_frequency(prepared: PreparedGroup, khz: int) -> None:
    """Set the frequency of a taken group, as the monitor does."""
    prepared.writer.write(b"%d\n" % khz)


def runs_at(tree: CpuTree, group: ClockGroup, khz: int) -> bool:
    """Whether a frequency is in effect: in the kernel's files, and in the registers."""
    is_shown = _shows(tree, group, khz)
    if VARIABLE not in os.environ or not is_shown:
        return is_shown
    # Of CPUs that share a frequency, the driver may program one.
    return any(_is_requested(pcpu, khz) for pcpu in group.pcpus)


def _is_requested(pcpu: PCpu, khz: int) -> bool:
    """Whether the driver requests a frequency of the hardware, and no other."""
    low_khz, high_khz, desired_khz, _ = requested_khz(pcpu)
    found = [desired_khz] if desired_khz else [low_khz, high_khz]
    # A unit of CPPC is 15 MHz.
    return all(abs(it - khz) < _REGISTER_UNIT_KHZ for it in found)


def _shows(tree: CpuTree, group: ClockGroup, khz: int) -> bool:
    names = written_attributes(group)
    # Drivers that choose frequencies themselves show the current one only on hardware.
    if not is_set_by_limits(group):
        names += ("scaling_cur_freq",)
    return all(tree.read_khz(group.path(name)) == khz for name in names)


def written_attributes(group: ClockGroup) -> tuple[str, ...]:
    """Return the attributes to which the mechanism writes a frequency."""
    return WRITERS[group.mechanism].ATTRIBUTES


def is_set_by_limits(group: ClockGroup) -> bool:
    return not {MIN, MAX}.isdisjoint(written_attributes(group))


def taken_governor(group: ClockGroup) -> str:
    return MECHANISMS[group.mechanism].TAKEN_GOVERNOR


def wait_for_frequency(tree: CpuTree, group: ClockGroup, khz: int) -> None:
    """Wait until a frequency is in effect; limits are applied from a work queue."""
    wait_until(lambda: runs_at(tree, group, khz))


def each_taken(
    tree: CpuTree, topology: Topology
) -> Iterator[tuple[ClockGroup, Mechanism, PreparedGroup]]:
    """Take each group for one turn of a loop; afterwards all settings are as before."""
    before = settings(tree, topology)
    for group in topology.groups:
        with ExitStack() as stack:
            mechanism, prepared = prepare(tree, group, stack)
            mechanism.take(prepared)
            yield group, mechanism, prepared
            prepared.restore()
    assert settings(tree, topology) == before


def has_drifted(
    tree: CpuTree, mechanism: Mechanism, prepared: PreparedGroup, khz: int
) -> bool:
    return mechanism.find_drift(tree, prepared, khz) is not None


def has_not_drifted(
    tree: CpuTree, mechanism: Mechanism, prepared: PreparedGroup
) -> bool:
    highest_khz = prepared.group.steps.highest_khz
    return mechanism.find_drift(tree, prepared, highest_khz) is None


def find_mode(tree: CpuTree) -> Path | None:
    """Return the file that changes the mode of the scaling driver, if there is one."""
    paths = (tree.cpu_dir / name / "status" for name in ("intel_pstate", "amd_pstate"))
    return next((path for path in paths if path.exists()), None)


def restore_as_found(
    tree: CpuTree, group: ClockGroup, before: dict[str, bytes]
) -> None:
    for name in ("scaling_governor", PREFERENCE):
        (tree.root / group.path(name)).write_bytes(before[group.path(name)])


def write(tree: CpuTree, group: ClockGroup, name: str, value: str) -> None:
    (tree.root / group.path(name)).write_text(f"{value}\n")


def narrower_limits(group: ClockGroup) -> Limits:
    """Return limits that leave out the highest, the nominal and the lowest step."""
    steps = group.steps
    low_khz = steps.up_from(steps.lowest_khz)
    return Limits(low_khz, max(low_khz, steps.down_from(steps.nominal_khz)))


@contextmanager
def holding_limits(tree: CpuTree) -> Iterator[tuple[HeldLimits, LimitJournal]]:
    with tempfile.TemporaryDirectory() as directory:
        journal = LimitJournal(Path(directory) / "limits.json", tree)
        held = HeldLimits(tree, journal)
        yield held, journal
        assert held.restore_all() == []


def wait_for_limits(tree: CpuTree, group: ClockGroup, limits: Limits) -> None:
    """Wait until the kernel shows limits, which it applies from a work queue."""
    names = (MIN, MAX)
    wait_until(lambda: [tree.read_khz(group.path(n)) for n in names] == [*limits])


def runs_within(tree: CpuTree, group: ClockGroup, limits: Limits) -> bool:
    current = read_current_khz(tree, group)
    return current is not None and limits.min_khz <= current <= limits.max_khz


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def switch_cpus(tree: CpuTree, group: ClockGroup, value: str) -> None:
    for pcpu in group.pcpus:
        (tree.cpu_dir / f"cpu{pcpu}" / "online").write_text(value)


@contextmanager
def refusal(number: int) -> Iterator[None]:
    """Expect a refusal of the kernel with a certain errno."""
    try:
        yield
    except (SysfsError, OSError) as error:
        assert error.errno == number, error  # noqa: PT017 - no pytest in a guest
    else:
        raise AssertionError(f"accepted, expected {errno.errorcode[number]}")
