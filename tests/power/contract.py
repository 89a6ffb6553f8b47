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
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import TreeLockedError
from orchestrator.limits import NO_LIMITS, Limits, window_of
from orchestrator.power.attribute import restore_attributes
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.journal import Journal
from orchestrator.power.kernel_limits import MAX, MIN
from orchestrator.power.mechanisms.limits import PREFERENCE
from orchestrator.power.steps import read_steps
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import (
    Topology,
    read_current_khz,
    read_governor,
    read_outline,
    read_topology,
)
from orchestrator.power.tree_lock import CpuTreeLock
from tests.power.checked_groups import (
    each_taken,
    find_mode,
    has_drifted,
    has_not_drifted,
    holding_limits,
    is_set_by_limits,
    narrower_limits,
    prepare,
    refusal,
    restore_as_found,
    runs_at,
    runs_within,
    set_distinct_governors,
    set_frequency,
    settings,
    switch_cpus,
    taken_governor,
    wait_for_frequency,
    wait_for_limits,
    wait_until,
    write,
    written_attributes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[CpuTree, Topology], None]


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
        assert group.steps == read_steps(tree, group.number)
        assert window_of(group.steps, Limits(group.min_khz, group.max_khz)).low_khz >= (
            group.min_khz
        )
        assert group.is_simulated == tree.is_simulated


def check_preparing_changes_nothing(tree: CpuTree, topology: Topology) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            _, prepared = prepare(tree, group, stack)
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
            mechanism, prepared = prepare(tree, group, stack)
            mechanism.take(prepared)
            assert read_governor(tree, group) == taken_governor(group)
            mechanism.take(prepared)
            prepared.restore()
            prepared.restore()
    assert settings(tree, topology) == before


def check_what_another_program_changes_is_found(
    tree: CpuTree, topology: Topology
) -> None:
    for group, mechanism, prepared in each_taken(tree, topology):
        low_khz, high_khz = group.steps.lowest_khz, group.steps.highest_khz
        set_frequency(prepared, low_khz)
        wait_for_frequency(tree, group, low_khz)
        assert mechanism.find_drift(tree, prepared, low_khz) is None
        write(tree, group, written_attributes(group)[0], str(high_khz))
        wait_until(partial(has_drifted, tree, mechanism, prepared, low_khz))
        change = mechanism.find_drift(tree, prepared, low_khz)
        assert change is not None
        assert " changed from " in change, change
        assert mechanism.find_drift(tree, prepared, None) is None
        write(tree, group, "scaling_governor", "powersave")
        change = mechanism.find_drift(tree, prepared, None)
        assert change == "the governor was changed to 'powersave'", change
        mechanism.take(prepared)
        set_frequency(prepared, low_khz)
        wait_for_frequency(tree, group, low_khz)
        assert mechanism.find_drift(tree, prepared, low_khz) is None


def check_a_frequency_within_the_kernel_s_limits_is_no_drift(
    tree: CpuTree, topology: Topology
) -> None:
    for group, mechanism, prepared in each_taken(tree, topology):
        original = tree.read(group.path(MAX))
        set_frequency(prepared, group.steps.highest_khz)
        wait_for_frequency(tree, group, group.steps.highest_khz)
        write(tree, group, MAX, str(group.steps.lowest_khz))
        # A kernel lowers the frequency and the minimum, a file does not.
        if tree.is_simulated and is_set_by_limits(group):
            write(tree, group, MIN, str(group.steps.lowest_khz))
        wait_until(partial(has_not_drifted, tree, mechanism, prepared))
        write(tree, group, MAX, original)


def check_every_written_step_becomes_the_frequency(
    tree: CpuTree, topology: Topology
) -> None:
    for group, _, prepared in each_taken(tree, topology):
        for khz in (*group.steps.khz, *reversed(group.steps.khz)):
            set_frequency(prepared, khz)
            wait_for_frequency(tree, group, khz)


def check_a_frequency_changes_no_other_group(tree: CpuTree, topology: Topology) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        taken = [prepare(tree, group, stack) for group in topology.groups]
        for mechanism, prepared in taken:
            mechanism.take(prepared)
            set_frequency(prepared, prepared.group.steps.highest_khz)
        for _, prepared in taken:
            low_khz = prepared.group.steps.lowest_khz
            set_frequency(prepared, low_khz)
            wait_for_frequency(tree, prepared.group, low_khz)
            for group in topology.groups:
                is_own = group.number == prepared.group.number
                khz = low_khz if is_own else group.steps.highest_khz
                assert runs_at(tree, group, khz), group.number
            set_frequency(prepared, prepared.group.steps.highest_khz)
            wait_for_frequency(tree, prepared.group, group.steps.highest_khz)
        for _, prepared in taken:
            prepared.restore()
    assert settings(tree, topology) == before


def check_the_descriptors_alone_suffice_to_restore(
    tree: CpuTree, topology: Topology
) -> None:
    # Like a process that has descriptors and originals and nothing else.
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            mechanism, prepared = prepare(tree, group, stack)
            mechanism.take(prepared)
            set_frequency(prepared, group.steps.lowest_khz)
            values = [original.value for original in prepared.originals]
            fds = prepared.original_fds
            assert restore_attributes(zip(fds, values, strict=True)) == []
    assert settings(tree, topology) == before


def check_a_frequency_found_as_it_is_set_is_restored(
    tree: CpuTree, topology: Topology
) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            mechanism, outer = prepare(tree, group, stack)
            mechanism.take(outer)
            set_frequency(outer, group.steps.lowest_khz)
            wait_for_frequency(tree, group, group.steps.lowest_khz)
            between = settings(tree, topology)
            _, inner = prepare(tree, group, stack)
            mechanism.take(inner)
            set_frequency(inner, group.steps.highest_khz)
            inner.restore()
            assert settings(tree, topology) == between
            outer.restore()
    assert settings(tree, topology) == before


def check_the_journal_restores_after_a_crash(tree: CpuTree, topology: Topology) -> None:
    before = settings(tree, topology)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "restore.json"
        with ExitStack() as stack:
            for group in topology.groups:
                mechanism, prepared = prepare(tree, group, stack)
                Journal(path, tree).record(prepared)
                mechanism.take(prepared)
                set_frequency(prepared, group.steps.lowest_khz)
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
    wanted = {group.number: narrower_limits(group) for group in topology.groups}
    for is_crash in (False, True):
        with holding_limits(tree) as (held, journal):
            held.hold(wanted)
            for group in topology.groups:
                wait_for_limits(tree, group, wanted[group.number])
            if is_crash:
                assert HeldLimits(tree, journal).replay().kept == {}
            else:
                assert held.restore_all() == []
        wait_until(lambda: settings(tree, topology) == before)


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


def setspeed_check_a_frequency_is_refused_until_the_group_is_taken(
    tree: CpuTree, topology: Topology
) -> None:
    before = settings(tree, topology)
    with ExitStack() as stack:
        for group in topology.groups:
            _, prepared = prepare(tree, group, stack)
            assert len(prepared.originals) == 1
            with refusal(errno.EINVAL):
                set_frequency(prepared, group.steps.lowest_khz)
    assert settings(tree, topology) == before


def setspeed_check_fitting_agrees_with_the_kernel_s_bound(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    second = group.steps.down_from(group.steps.highest_khz)
    bound = tree.root / group.path("scaling_max_freq")
    with ExitStack() as stack:
        mechanism, prepared = prepare(tree, group, stack)
        mechanism.take(prepared)
        bound.write_text(f"{second}\n")
        limited = read_topology(tree).groups[0]
        assert limited.max_khz == second
        set_frequency(prepared, group.steps.highest_khz)
        wait_until(lambda: read_current_khz(tree, group) == second)
        assert window_of(group.steps, Limits(0, limited.max_khz)).high_khz == second
        bound.write_text(f"{group.max_khz}\n")
        prepared.restore()


def kernel_check_limits_hold_under_every_governor_without_any_request(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    limits = narrower_limits(group)
    governor = tree.root / group.path("scaling_governor")
    original = governor.read_text()
    with holding_limits(tree) as (held, _):
        frequencies = {"performance": limits.max_khz, "powersave": limits.min_khz}
        for name in tree.read(group.path("scaling_available_governors")).split():
            governor.write_text(name)
            held.hold({group.number: limits})
            wait_for_limits(tree, group, limits)
            if name != "userspace" and not is_set_by_limits(group):
                # The governor follows them at its next sample.
                khz = frequencies.get(name)
                expected = Limits(khz, khz) if khz else limits
                wait_until(partial(runs_within, tree, group, expected))
            held.restore_all()
    governor.write_text(original)


def setspeed_check_a_frequency_above_a_held_limit_is_set_when_the_limit_ends(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    before = settings(tree, topology)
    with ExitStack() as stack:
        mechanism, prepared = prepare(tree, group, stack)
        held, _ = stack.enter_context(holding_limits(tree))
        limits = narrower_limits(group)
        mechanism.take(prepared)
        held.hold({group.number: limits})
        wait_for_limits(tree, group, limits)
        set_frequency(prepared, group.steps.highest_khz)
        assert read_current_khz(tree, group) == limits.max_khz
        held.hold({group.number: NO_LIMITS})
        wait_until(lambda: read_current_khz(tree, group) == group.steps.highest_khz)
        prepared.restore()
    assert settings(tree, topology) == before


def kernel_check_a_minimum_that_a_held_maximum_hides_comes_back(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    before = settings(tree, topology)
    minimum = tree.root / group.path("scaling_min_freq")
    minimum.write_text(f"{group.steps.nominal_khz}\n")
    maximum = Limits(max_khz=narrower_limits(group).max_khz)
    with holding_limits(tree) as (held, _):
        held.hold({group.number: maximum})
        wait_for_limits(tree, group, Limits(maximum.max_khz, maximum.max_khz))
        held.hold({group.number: NO_LIMITS})
        nominal_khz = group.steps.nominal_khz
        wait_until(lambda: tree.read_khz(group.path(MIN)) == nominal_khz)
    minimum.write_text(f"{group.min_khz}\n")
    wait_until(lambda: settings(tree, topology) == before)


def kernel_check_an_offline_group_is_restored_when_it_is_online_again(
    tree: CpuTree, topology: Topology
) -> None:
    before = settings(tree, topology)
    group = topology.groups[-1]
    low_khz = group.steps.lowest_khz
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "restore.json"
        mechanism, prepared = prepare(tree, group, stack)
        journal = Journal(path, tree)
        journal.record(prepared)
        mechanism.take(prepared)
        set_frequency(prepared, low_khz)
        wait_for_frequency(tree, group, low_khz)
        switch_cpus(tree, group, "0")
        assert read_topology(tree).group(group.number) is None
        assert set(read_topology(tree).unmanaged) == group.pcpus
        with refusal(errno.EBUSY):
            set_frequency(prepared, low_khz)
        assert mechanism.find_drift(tree, prepared, low_khz) is None
        assert not prepared.is_replaced()
        with refusal(errno.EBUSY):
            prepared.restore()
        assert set(journal.replay().kept) == {group.number}
        switch_cpus(tree, group, "1")
        assert read_governor(tree, group) == taken_governor(group)
        # Some drivers lose the frequency: it is written again.
        set_frequency(prepared, low_khz)
        wait_for_frequency(tree, group, low_khz)
        assert mechanism.find_drift(tree, prepared, low_khz) is None
        assert not prepared.is_replaced()
        assert read_topology(tree).group(group.number) == read_topology(tree).groups[-1]
        assert journal.replay().restored == (group.number,)
    wait_until(lambda: settings(tree, topology) == before)


def kernel_check_a_replaced_driver_is_noticed_and_its_group_prepared_again(
    tree: CpuTree, topology: Topology
) -> None:
    status = find_mode(tree)
    if status is None:
        return
    group, mode = topology.groups[0], status.read_text().strip()
    other = "passive" if mode == "active" else "active"
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "restore.json"
        mechanism, prepared = prepare(tree, group, stack)
        Journal(path, tree).record(prepared)
        mechanism.take(prepared)
        set_frequency(prepared, group.steps.lowest_khz)
        outline = read_outline(tree)
        status.write_text(other)
        assert prepared.is_replaced()
        with refusal(errno.ENODEV):
            set_frequency(prepared, group.steps.lowest_khz)
        assert mechanism.find_drift(tree, prepared, group.steps.lowest_khz) is None
        assert read_outline(tree) != outline
        changed = settings(tree, topology)
        assert Journal(path, tree).replay().left == (group.number,)
        assert settings(tree, topology) == changed
        new = read_topology(tree).groups[0]
        assert (new.number, new.steps) == (group.number, group.steps)
        assert new.mechanism != group.mechanism
        mechanism, again = prepare(tree, new, stack)
        mechanism.take(again)
        set_frequency(again, new.steps.lowest_khz)
        wait_for_frequency(tree, new, new.steps.lowest_khz)
        again.restore()
    status.write_text(mode)
    # The governors are the kernel's again.
    set_distinct_governors(tree, read_topology(tree))


def limits_check_a_restored_preference_is_that_from_before(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    preference = tree.root / group.path(PREFERENCE)
    if not preference.exists():
        return
    before = settings(tree, topology)
    governor = tree.root / group.path("scaling_governor")
    governor.write_text("powersave\n")
    for word in ("balance_power", "power"):
        preference.write_text(f"{word}\n")
        with ExitStack() as stack:
            mechanism, prepared = prepare(tree, group, stack)
            mechanism.take(prepared)
            assert tree.read(group.path(PREFERENCE)) == "performance"
            prepared.restore()
        assert tree.read(group.path(PREFERENCE)) == word
    restore_as_found(tree, group, before)
    assert settings(tree, topology) == before


def limits_check_what_is_set_is_not_taken_for_a_limit_of_others(
    tree: CpuTree, topology: Topology
) -> None:
    group = topology.groups[0]
    before = settings(tree, topology)
    with ExitStack() as stack:
        mechanism, prepared = prepare(tree, group, stack)
        held, _ = stack.enter_context(holding_limits(tree))
        own = held.refresh([group.number], is_complete=True)[group.number]
        held.suspend(group.number)
        mechanism.take(prepared)
        set_frequency(prepared, group.steps.lowest_khz)
        wait_for_frequency(tree, group, group.steps.lowest_khz)
        found = held.refresh([group.number], is_complete=True)[group.number]
        assert found.limits == own.limits
        held.hold({group.number: narrower_limits(group)})
        assert runs_at(tree, group, group.steps.lowest_khz)
        prepared.restore()
        held.resume(group.number)
        wait_for_limits(tree, group, narrower_limits(group))
    wait_until(lambda: settings(tree, topology) == before)


def find_checks(prefix: str = "check_") -> tuple[Check, ...]:
    """Return the checks above, in their order in the file.

    Those that begin with ``kernel_check_`` need a real kernel, which refuses writes,
    and so do those that begin with the name of a mechanism.
    """
    names = [name for name in globals() if name.startswith(prefix)]
    return tuple(globals()[name] for name in names)


def main(root: str) -> int:
    """Run every check on a tree with differing groups; print one line for each."""
    tree = CpuTree(Path(root))
    set_distinct_governors(tree, read_topology(tree))
    checks = find_checks()
    if not tree.is_simulated:
        mechanism = read_topology(tree).groups[0].mechanism
        checks += find_checks("kernel_check_") + find_checks(f"{mechanism}_check_")
    for check in checks:
        check(tree, read_topology(tree))
        sys.stdout.write(f"ok {check.__name__}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
