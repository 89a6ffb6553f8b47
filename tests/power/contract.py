# SPDX-License-Identifier: Apache-2.0
"""The contract of every CPU tree, simulated or Linux's own, as plain functions.

They need the standard library only, so that they run inside a small guest whose kernel
drives real P-states: ``python3 -m tests.power.contract /sys``. Each function leaves the
tree as it found it. The topology must have at least one clock group.
"""

from __future__ import annotations

import errno
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import SysfsError, TreeLockedError
from orchestrator.limits import NO_LIMITS, Limits, window_of
from orchestrator.power.attribute import restore_attributes
from orchestrator.power.drivers.registry import find_driver
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.journal import Journal
from orchestrator.power.kernel_limits import MAX, MIN
from orchestrator.power.limit_journal import LimitJournal
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import (
    Topology,
    read_current_khz,
    read_governor,
    read_topology,
)
from orchestrator.power.tree_lock import CpuTreeLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.power.drivers.contract import ScalingDriver
    from orchestrator.power.group import ClockGroup, PreparedGroup

    Check = Callable[[CpuTree, Topology], None]

_WRITABLE = (
    "scaling_governor",
    "scaling_setspeed",
    "scaling_min_freq",
    "scaling_max_freq",
)


def settings(tree: CpuTree, topology: Topology) -> dict[str, bytes]:
    """Read all attributes that may be changed."""
    paths = [group.path(name) for group in topology.groups for name in _WRITABLE]
    return {path: tree.read_bytes(path) for path in paths}


def set_distinct_governors(tree: CpuTree, topology: Topology) -> None:
    """Give neighbouring groups different governors, to detect mix-ups."""
    for index, group in enumerate(topology.groups):
        name = ("performance", "powersave")[index % 2]
        (tree.root / group.path("scaling_governor")).write_text(f"{name}\n")


def _driver(group: ClockGroup) -> ScalingDriver:
    return find_driver(group.driver)


def _prepare(
    tree: CpuTree, group: ClockGroup, stack: ExitStack
) -> tuple[ScalingDriver, PreparedGroup]:
    driver = _driver(group)
    return driver, stack.enter_context(closing(driver.prepare(tree, group)))


def _each_taken(
    tree: CpuTree, topology: Topology
) -> Iterator[tuple[ClockGroup, ScalingDriver, PreparedGroup]]:
    """Take each group for one turn of a loop; afterwards all settings are as before."""
    before = settings(tree, topology)
    for group in topology.groups:
        with ExitStack() as stack:
            driver, prepared = _prepare(tree, group, stack)
            driver.take(prepared)
            yield group, driver, prepared
            driver.restore(prepared)
    assert settings(tree, topology) == before


def check_every_online_cpu_is_in_one_group_or_has_a_reason(
    tree: CpuTree, topology: Topology
) -> None:
    assert tree.online() == topology.online
    for pcpu in tree.present():
        groups = [group for group in topology.groups if pcpu in group.pcpus]
        assert len(groups) + (pcpu in topology.unmanaged) == 1, pcpu
        assert topology.group_of(pcpu) == (groups[0] if groups else None)


def check_groups_offer_steps_within_what_the_kernel_allows(
    tree: CpuTree, topology: Topology
) -> None:
    for group in topology.groups:
        assert group.min_khz <= group.max_khz
        assert group.steps == _driver(group).read_steps(tree, group.number)
        assert window_of(group.steps, Limits(group.min_khz, group.max_khz)).low_khz >= (
            group.min_khz
        )
        assert group.is_simulated == tree.is_simulated


def check_preparing_changes_nothing(tree: CpuTree, topology: Topology) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            _, prepared = _prepare(tree, group, stack)
            assert prepared.originals[-1].path == group.path("scaling_governor")
            assert len(prepared.originals) == len(prepared.original_fds)
            for original in prepared.originals:
                assert original.value == before[original.path]
    assert settings(tree, topology) == before


def check_taking_and_restoring_without_a_change_between(
    tree: CpuTree, topology: Topology
) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            driver, prepared = _prepare(tree, group, stack)
            driver.take(prepared)
            assert read_governor(tree, group) == "userspace"
            driver.take(prepared)
            driver.restore(prepared)
            driver.restore(prepared)
    assert settings(tree, topology) == before


def check_what_another_program_changes_is_found(
    tree: CpuTree, topology: Topology
) -> None:
    for group, driver, prepared in _each_taken(tree, topology):
        low_khz, high_khz = group.steps.lowest_khz, group.steps.highest_khz
        driver.write_clock(prepared, low_khz)
        assert driver.find_drift(tree, prepared, low_khz) is None
        _write(tree, group, "scaling_setspeed", str(high_khz))
        change = driver.find_drift(tree, prepared, low_khz)
        assert change is not None
        assert change.startswith("the frequency was changed from "), change
        assert driver.find_drift(tree, prepared, None) is None
        _write(tree, group, "scaling_governor", "powersave")
        change = driver.find_drift(tree, prepared, None)
        assert change == "the governor was changed to 'powersave'", change
        driver.take(prepared)
        driver.write_clock(prepared, low_khz)
        assert driver.find_drift(tree, prepared, low_khz) is None


def check_a_frequency_within_the_kernel_s_limits_is_no_drift(
    tree: CpuTree, topology: Topology
) -> None:
    for group, driver, prepared in _each_taken(tree, topology):
        original = tree.read(group.path("scaling_max_freq"))
        driver.write_clock(prepared, group.steps.highest_khz)
        _write(tree, group, "scaling_max_freq", str(group.steps.lowest_khz))
        # A kernel lowers the frequency, a file does not.
        assert driver.find_drift(tree, prepared, group.steps.highest_khz) is None
        _write(tree, group, "scaling_max_freq", original)


def check_every_written_step_becomes_the_frequency(
    tree: CpuTree, topology: Topology
) -> None:
    for group, driver, prepared in _each_taken(tree, topology):
        for khz in (*group.steps.khz, *reversed(group.steps.khz)):
            driver.write_clock(prepared, khz)
            assert tree.read_khz(group.path("scaling_setspeed")) == khz
            assert read_current_khz(tree, group) == khz


def check_a_frequency_changes_no_other_group(tree: CpuTree, topology: Topology) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        taken = [_prepare(tree, group, stack) for group in topology.groups]
        for driver, prepared in taken:
            driver.take(prepared)
            driver.write_clock(prepared, prepared.group.steps.highest_khz)
        for driver, prepared in taken:
            driver.write_clock(prepared, prepared.group.steps.lowest_khz)
            frequencies = [read_current_khz(tree, group) for group in topology.groups]
            low = prepared.group.steps.lowest_khz
            assert frequencies.count(low) == 1, frequencies
            driver.write_clock(prepared, prepared.group.steps.highest_khz)
        for driver, prepared in taken:
            driver.restore(prepared)
    assert settings(tree, topology) == before


def check_the_descriptors_alone_suffice_to_restore(
    tree: CpuTree, topology: Topology
) -> None:
    # Like a process that has descriptors and originals and nothing else.
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            driver, prepared = _prepare(tree, group, stack)
            driver.take(prepared)
            driver.write_clock(prepared, group.steps.lowest_khz)
            values = [original.value for original in prepared.originals]
            fds = prepared.original_fds
            assert restore_attributes(zip(fds, values, strict=True)) == []
    assert settings(tree, topology) == before


def check_a_frequency_found_in_userspace_is_restored(
    tree: CpuTree, topology: Topology
) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            driver, outer = _prepare(tree, group, stack)
            driver.take(outer)
            driver.write_clock(outer, group.steps.lowest_khz)
            between = settings(tree, topology)
            _, inner = _prepare(tree, group, stack)
            driver.take(inner)
            driver.write_clock(inner, group.steps.highest_khz)
            driver.restore(inner)
            assert settings(tree, topology) == between
            driver.restore(outer)
    assert settings(tree, topology) == before


def check_the_journal_restores_after_a_crash(tree: CpuTree, topology: Topology) -> None:
    before = settings(tree, topology)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "restore.json"
        with ExitStack() as stack:
            for group in topology.groups:
                driver, prepared = _prepare(tree, group, stack)
                Journal(path, tree).record(prepared)
                driver.take(prepared)
                driver.write_clock(prepared, group.steps.lowest_khz)
        assert settings(tree, topology) != before
        replay = Journal(path, tree).replay()
        assert replay.restored == tuple(group.number for group in topology.groups)
        assert not replay.kept
        assert not path.exists()
    assert settings(tree, topology) == before


def check_held_limits_are_restored_by_themselves_and_after_a_crash(
    tree: CpuTree, topology: Topology
) -> None:
    before = settings(tree, topology)
    wanted = {group.number: _narrower(group) for group in topology.groups}
    for is_crash in (False, True):
        with _holding(tree) as (held, journal):
            held.hold(wanted)
            for group in topology.groups:
                _wait_for_limits(tree, group, wanted[group.number])
            if is_crash:
                assert HeldLimits(tree, journal).replay().kept == {}
            else:
                assert held.restore_all() == []
        _wait_until(lambda: settings(tree, topology) == before)


def check_a_tree_has_one_holder(tree: CpuTree, topology: Topology) -> None:
    assert topology.online
    with CpuTreeLock(tree):
        second = CpuTreeLock(tree)
        try:
            second.acquire()
        except TreeLockedError as error:
            assert str(tree.cpu_dir) in str(error)  # noqa: PT017 - no pytest in a guest
        else:
            raise AssertionError("the tree was locked twice")
    second.acquire()
    second.release()


def kernel_check_a_frequency_is_refused_until_the_group_is_taken(
    tree: CpuTree, topology: Topology
) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            driver, prepared = _prepare(tree, group, stack)
            assert len(prepared.originals) == 1
            with _refusal(errno.EINVAL):
                driver.write_clock(prepared, group.steps.lowest_khz)
    assert settings(tree, topology) == before


def kernel_check_fitting_agrees_with_the_kernel_s_bound(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    second = group.steps.down_from(group.steps.highest_khz)
    bound = tree.root / group.path("scaling_max_freq")
    with ExitStack() as stack:
        driver, prepared = _prepare(tree, group, stack)
        driver.take(prepared)
        bound.write_text(f"{second}\n")
        limited = read_topology(tree).groups[0]
        assert limited.max_khz == second
        driver.write_clock(prepared, group.steps.highest_khz)
        assert read_current_khz(tree, group) == second
        assert window_of(group.steps, Limits(0, limited.max_khz)).high_khz == second
        bound.write_text(f"{group.max_khz}\n")
        driver.restore(prepared)


def kernel_check_limits_hold_under_every_governor_without_any_request(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    limits = _narrower(group)
    governor = tree.root / group.path("scaling_governor")
    original = governor.read_text()
    with _holding(tree) as (held, _):
        for name, khz in (
            ("performance", limits.max_khz),
            ("powersave", limits.min_khz),
            ("ondemand", None),
            ("schedutil", None),
        ):
            governor.write_text(name)
            held.hold({group.number: limits})
            _wait_for_limits(tree, group, limits)
            # The governor follows them at its next sample.
            expected = Limits(khz, khz) if khz else limits
            _wait_until(partial(_is_within, tree, group, expected))
            held.restore_all()
        governor.write_text("performance")
        _wait_until(lambda: read_current_khz(tree, group) == group.steps.highest_khz)
    governor.write_text(original)


def kernel_check_a_frequency_above_a_held_limit_is_set_when_the_limit_ends(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    before = settings(tree, topology)
    with ExitStack() as stack:
        driver, prepared = _prepare(tree, group, stack)
        held, _ = stack.enter_context(_holding(tree))
        limits = _narrower(group)
        driver.take(prepared)
        held.hold({group.number: limits})
        _wait_for_limits(tree, group, limits)
        driver.write_clock(prepared, group.steps.highest_khz)
        assert read_current_khz(tree, group) == limits.max_khz
        held.hold({group.number: NO_LIMITS})
        _wait_until(lambda: read_current_khz(tree, group) == group.steps.highest_khz)
        driver.restore(prepared)
    assert settings(tree, topology) == before


def kernel_check_a_minimum_that_a_held_maximum_hides_comes_back(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    before = settings(tree, topology)
    minimum = tree.root / group.path("scaling_min_freq")
    minimum.write_text(f"{group.steps.nominal_khz}\n")
    maximum = Limits(max_khz=_narrower(group).max_khz)
    with _holding(tree) as (held, _):
        held.hold({group.number: maximum})
        _wait_for_limits(tree, group, Limits(maximum.max_khz, maximum.max_khz))
        held.hold({group.number: NO_LIMITS})
        nominal_khz = group.steps.nominal_khz
        _wait_until(lambda: tree.read_khz(group.path(MIN)) == nominal_khz)
    minimum.write_text(f"{group.min_khz}\n")
    _wait_until(lambda: settings(tree, topology) == before)


def kernel_check_an_offline_group_is_restored_when_it_is_online_again(
    tree: CpuTree, topology: Topology
) -> None:
    before = settings(tree, topology)
    group = topology.groups[-1]
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "restore.json"
        driver, prepared = _prepare(tree, group, stack)
        journal = Journal(path, tree)
        journal.record(prepared)
        driver.take(prepared)
        driver.write_clock(prepared, group.steps.lowest_khz)
        _switch(tree, group, "0")
        assert read_topology(tree).group(group.number) is None
        assert set(read_topology(tree).unmanaged) == group.pcpus
        with _refusal(errno.EBUSY):
            driver.write_clock(prepared, group.steps.lowest_khz)
        assert driver.find_drift(tree, prepared, group.steps.lowest_khz) is None
        with _refusal(errno.EBUSY):
            driver.restore(prepared)
        assert set(journal.replay().kept) == {group.number}
        _switch(tree, group, "1")
        # The governor is still userspace, the frequency is lost: it is written again.
        assert driver.find_drift(tree, prepared, group.steps.lowest_khz) is not None
        assert read_governor(tree, group) == "userspace"
        driver.write_clock(prepared, group.steps.lowest_khz)
        assert read_current_khz(tree, group) == group.steps.lowest_khz
        assert journal.replay().restored == (group.number,)
    assert settings(tree, topology) == before


def _write(tree: CpuTree, group: ClockGroup, name: str, value: str) -> None:
    (tree.root / group.path(name)).write_text(f"{value}\n")


def _narrower(group: ClockGroup) -> Limits:
    """Return limits that leave out the highest, the nominal and the lowest step."""
    steps = group.steps
    low_khz = steps.up_from(steps.lowest_khz)
    return Limits(low_khz, max(low_khz, steps.down_from(steps.nominal_khz)))


@contextmanager
def _holding(tree: CpuTree) -> Iterator[tuple[HeldLimits, LimitJournal]]:
    with tempfile.TemporaryDirectory() as directory:
        journal = LimitJournal(Path(directory) / "limits.json", tree)
        held = HeldLimits(tree, journal)
        yield held, journal
        assert held.restore_all() == []


def _wait_for_limits(tree: CpuTree, group: ClockGroup, limits: Limits) -> None:
    """Wait until the kernel shows limits, which it applies from a work queue."""
    names = (MIN, MAX)
    _wait_until(lambda: [tree.read_khz(group.path(n)) for n in names] == [*limits])


def _is_within(tree: CpuTree, group: ClockGroup, limits: Limits) -> bool:
    current = read_current_khz(tree, group)
    return current is not None and limits.min_khz <= current <= limits.max_khz


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def _switch(tree: CpuTree, group: ClockGroup, value: str) -> None:
    for pcpu in group.pcpus:
        (tree.cpu_dir / f"cpu{pcpu}" / "online").write_text(value)


@contextmanager
def _refusal(number: int) -> Iterator[None]:
    """Expect a refusal of the kernel with a certain errno."""
    try:
        yield
    except SysfsError as error:
        assert error.errno == number, error  # noqa: PT017 - no pytest in a guest
    else:
        raise AssertionError(f"accepted, expected {errno.errorcode[number]}")


def find_checks(prefix: str = "check_") -> tuple[Check, ...]:
    """Return the checks above, in their order in the file.

    Those that begin with ``kernel_check_`` need a real kernel, which refuses writes.
    """
    names = [name for name in globals() if name.startswith(prefix)]
    return tuple(globals()[name] for name in names)


def main(root: str) -> int:
    """Run every check on a tree with differing groups; print one line for each."""
    tree = CpuTree(Path(root))
    set_distinct_governors(tree, read_topology(tree))
    checks = find_checks()
    if not tree.is_simulated:
        checks += find_checks("kernel_check_")
    for check in checks:
        check(tree, read_topology(tree))
        sys.stdout.write(f"ok {check.__name__}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
