# SPDX-License-Identifier: Apache-2.0
"""The mechanism limits on files: originals, their order, and crashes."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import SysfsError
from orchestrator.limits import Limits
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.journal import Journal
from orchestrator.power.kernel_limits import ATTRIBUTES
from orchestrator.power.limit_journal import LIMIT_JOURNAL_NAME, LimitJournal
from orchestrator.power.mechanisms.limits import LimitsMechanism
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_topology
from tests.power.conftest import read_all

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.group import ClockGroup

MECHANISM = LimitsMechanism()
LOW_KHZ = 1_200_000
NARROW_KHZ = 2_000_000


@pytest.fixture
def tree(tmp_path: Path) -> CpuTree:
    """Four CPUs whose driver chooses frequencies itself."""
    lay_out(tmp_path / "sys", cpus=4, driver="intel_pstate")
    return CpuTree(tmp_path / "sys")


@pytest.fixture
def group(tree: CpuTree) -> ClockGroup:
    return read_topology(tree).groups[0]


def write(tree: CpuTree, group: ClockGroup, name: str, value: object) -> None:
    (tree.root / group.path(name)).write_text(f"{value}\n")


def test_limits_are_restored_first_then_the_governor_then_the_preference(
    tree: CpuTree, group: ClockGroup
) -> None:
    # With the governor performance, the kernel refuses other preferences.
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        names = [original.path.rpartition("/")[2] for original in prepared.originals]
    assert names == [
        *("scaling_max_freq", "scaling_min_freq", "scaling_governor"),
        "energy_performance_preference",
    ]


def test_a_driver_without_preferences_is_taken_too(
    tree: CpuTree, group: ClockGroup
) -> None:
    (tree.root / group.path("energy_performance_preference")).unlink()
    before = read_all(tree.root)
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        MECHANISM.take(prepared)
        prepared.writer.write(b"%d\n" % LOW_KHZ)
        assert tree.read_khz(group.path("scaling_max_freq")) == LOW_KHZ
        prepared.restore()
    assert read_all(tree.root) == before


def test_a_group_without_the_governor_performance_is_not_taken(
    tree: CpuTree, group: ClockGroup
) -> None:
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        full = os.open("/dev/full", os.O_RDWR)
        os.dup2(full, prepared.fd_of(group.path("scaling_governor")))
        os.close(full)
        with pytest.raises(SysfsError, match="scaling_governor"):
            MECHANISM.take(prepared)


def test_a_group_found_with_performance_is_restored_only_while_it_is_pinned(
    tree: CpuTree, group: ClockGroup, tmp_path: Path
) -> None:
    # The governor shows nothing: it was performance before.
    write(tree, group, "scaling_governor", "performance")
    before = read_all(tree.root)
    path = tmp_path / "restore.json"
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        Journal(path, tree).record(prepared)
        MECHANISM.take(prepared)
        prepared.writer.write(b"%d\n" % LOW_KHZ)
    journalled = path.read_bytes()
    assert Journal(path, tree).replay().restored == (group.number,)
    assert read_all(tree.root) == before
    write(tree, group, "scaling_max_freq", NARROW_KHZ)
    path.write_bytes(journalled)
    assert Journal(path, tree).replay().left == (group.number,)
    assert tree.read_khz(group.path("scaling_max_freq")) == NARROW_KHZ


def test_a_group_with_another_driver_than_when_it_was_taken_stays_as_it_is(
    tree: CpuTree, group: ClockGroup, tmp_path: Path
) -> None:
    path = tmp_path / "restore.json"
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        Journal(path, tree).record(prepared)
        MECHANISM.take(prepared)
    write(tree, group, "scaling_driver", "intel_cpufreq")
    before = read_all(tree.root)
    assert Journal(path, tree).replay().left == (group.number,)
    assert read_all(tree.root) == before


def test_limits_that_are_still_ours_are_restored_below_a_governor_of_others(
    tree: CpuTree, group: ClockGroup, tmp_path: Path
) -> None:
    # Whatever the governor is, no frequency but ours is possible until then.
    before = [tree.read_khz(group.path(name)) for name in ATTRIBUTES]
    path = tmp_path / "restore.json"
    groups = HeldGroups(tree, Journal(path, tree), fallback_governor="schedutil")
    for is_crash in (False, True):
        write(tree, group, "scaling_governor", "performance")
        write(tree, group, "scaling_governor", "powersave")
        assert groups.prepare(read_topology(tree), [group.number]) == {}
        groups.take(group.number)
        prepared = groups.held(group.number)
        assert prepared is not None
        prepared.writer.write(b"%d\n" % LOW_KHZ)
        write(tree, group, "scaling_governor", "conservative")
        if is_crash:
            replay = Journal(path, tree).replay()
            assert replay.restored == (group.number,)
        else:
            groups.restore(group.number)
        assert [tree.read_khz(group.path(name)) for name in ATTRIBUTES] == before
        assert tree.read(group.path("scaling_governor")) == "conservative"
        groups.drop([group.number])


def test_limits_that_another_program_changed_with_the_governor_stay(
    tree: CpuTree, group: ClockGroup, tmp_path: Path
) -> None:
    path = tmp_path / "restore.json"
    groups = HeldGroups(tree, Journal(path, tree), fallback_governor="schedutil")
    assert groups.prepare(read_topology(tree), [group.number]) == {}
    groups.take(group.number)
    write(tree, group, "scaling_governor", "powersave2")
    write(tree, group, "scaling_max_freq", NARROW_KHZ)
    before = read_all(tree.root)
    journalled = path.read_bytes()
    assert groups.restore_all() == []
    assert read_all(tree.root) == before
    path.write_bytes(journalled)
    assert Journal(path, tree).replay().left == (group.number,)
    assert read_all(tree.root) == before


def test_a_preference_that_cannot_be_opened_is_an_error(
    tree: CpuTree, group: ClockGroup
) -> None:
    # Otherwise it could not be restored.
    preference = tree.root / group.path("energy_performance_preference")
    preference.unlink()
    preference.mkdir()
    with pytest.raises(SysfsError, match="energy_performance_preference"):
        MECHANISM.prepare(tree, group)


def test_a_held_limit_is_the_original_below_a_taken_group(
    tree: CpuTree, group: ClockGroup, tmp_path: Path
) -> None:
    """Both journals restore after a crash, the group's first."""
    before = read_all(tree.root)
    journal = Journal(tmp_path / "restore.json", tree)
    limits = LimitJournal(tmp_path / LIMIT_JOURNAL_NAME, tree)
    held = HeldLimits(tree, limits)
    held.hold({group.number: Limits(max_khz=NARROW_KHZ)})
    groups = HeldGroups(tree, journal, fallback_governor="schedutil")
    assert groups.prepare(read_topology(tree), [group.number]) == {}
    assert groups.is_set_by_limits(group.number)
    held.suspend(group.number)
    groups.take(group.number)
    prepared = groups.held(group.number)
    assert prepared is not None
    prepared.writer.write(b"%d\n" % LOW_KHZ)
    prepared.close()

    assert Journal(journal_path := tmp_path / "restore.json", tree).replay().restored
    assert not journal_path.exists()
    assert tree.read_khz(group.path("scaling_max_freq")) == NARROW_KHZ
    assert HeldLimits(tree, limits).replay().restored == (group.number,)
    assert read_all(tree.root) == before


def test_a_group_that_is_left_to_another_governor_is_not_held_by_its_limits(
    tree: CpuTree, group: ClockGroup, tmp_path: Path
) -> None:
    number = group.number
    journal = Journal(tmp_path / "restore.json", tree)
    groups = HeldGroups(tree, journal, fallback_governor="schedutil")
    assert groups.prepare(read_topology(tree), [number]) == {}
    groups.take(number)
    prepared = groups.held(number)
    assert prepared is not None
    prepared.writer.write(b"%d\n" % LOW_KHZ)
    groups.unpin(number)
    assert tree.read_khz(group.path("scaling_max_freq")) == LOW_KHZ
    write(tree, group, "scaling_governor", "powersave")
    groups.unpin(number)
    assert tree.read_khz(group.path("scaling_max_freq")) == group.max_khz
    assert tree.read(group.path("scaling_governor")) == "powersave"
    groups.restore_all()


def test_a_limit_that_ends_while_the_group_is_taken_is_restored_afterwards(
    tree: CpuTree, group: ClockGroup, tmp_path: Path
) -> None:
    before = read_all(tree.root)
    held = HeldLimits(tree, LimitJournal(tmp_path / LIMIT_JOURNAL_NAME, tree))
    number = group.number
    held.hold({number: Limits(max_khz=NARROW_KHZ)})
    held.suspend(number)
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        MECHANISM.take(prepared)
        prepared.writer.write(b"%d\n" % LOW_KHZ)
        held.hold({number: Limits()})
        assert tree.read_khz(group.path("scaling_max_freq")) == LOW_KHZ
        prepared.restore()
    held.resume(number)
    assert held.resume(number) == {}
    assert read_all(tree.root) == before


def test_a_switched_off_turbo_is_seen_while_the_group_is_taken(
    tree: CpuTree, group: ClockGroup, tmp_path: Path
) -> None:
    held = HeldLimits(tree, LimitJournal(tmp_path / LIMIT_JOURNAL_NAME, tree))
    before = held.refresh([group.number])[group.number]
    held.suspend(group.number)
    (tree.cpu_dir / "intel_pstate/no_turbo").write_text("1\n")
    after = held.refresh([group.number])[group.number]
    assert after == before._replace(turbo_switch="intel_pstate/no_turbo")
