"""What main holds of the CPU tree, on a simulated one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import SysfsError
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.journal import Journal
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import Topology, read_topology

if TYPE_CHECKING:
    from pathlib import Path

POLICY = "devices/system/cpu/cpufreq/policy{}/{}"


class Room:
    def __init__(self, directory: Path) -> None:
        lay_out(directory / "sys", cpus=4)
        self.tree = CpuTree(directory / "sys")
        self.journal = Journal(directory / "restore.json", self.tree)
        self.held_groups = HeldGroups(
            self.tree, self.journal, fallback_governor="schedutil"
        )
        self.topology: Topology = read_topology(self.tree)

    def governor(self, number: int) -> str:
        return self.tree.read(POLICY.format(number, "scaling_governor"))

    def break_governor(self, number: int) -> None:
        path = self.tree.root / POLICY.format(number, "scaling_governor")
        path.unlink()
        path.symlink_to("/dev/full")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_preparing_journals_everything_and_changes_nothing(room: Room) -> None:
    before = room.governor(0)
    assert room.held_groups.prepare(room.topology, [0, 1, 2]) == {}
    assert set(room.journal.read()) == {0, 1, 2}
    assert room.governor(0) == before
    room.held_groups.restore_all()


def test_a_group_that_refuses_does_not_keep_others_from_being_prepared(
    room: Room,
) -> None:
    room.break_governor(1)
    refused = room.held_groups.prepare(room.topology, [0, 1, 99])
    assert set(refused) == {1, 99}
    assert isinstance(refused[1], SysfsError)
    assert set(room.journal.read()) == {0}
    room.held_groups.restore_all()


def test_what_was_taken_is_restored_and_what_was_not_is_left_alone(room: Room) -> None:
    room.held_groups.prepare(room.topology, [0, 1])
    room.held_groups.take(0)
    assert room.governor(0) == "userspace"
    # Somebody changes what we only prepared: that is theirs.
    path = room.tree.root / POLICY.format(1, "scaling_governor")
    path.write_text("performance\n", encoding="ascii")
    assert room.held_groups.restore_all() == []
    assert room.governor(0) == "schedutil"
    assert room.governor(1) == "performance"
    assert room.journal.read() == {}


def change_governor(room: Room, governor: str) -> None:
    path = room.tree.root / POLICY.format(0, "scaling_governor")
    path.write_text(f"{governor}\n", encoding="ascii")


def test_a_governor_that_was_changed_before_the_take_is_the_one_to_restore(
    room: Room,
) -> None:
    room.held_groups.prepare(room.topology, [0, 1])
    assert room.held_groups.renew(0) is None
    change_governor(room, "performance")
    renewed = room.held_groups.renew(0)
    assert renewed
    assert renewed is room.held_groups.held(0)
    assert renewed.group.governor == "performance"
    assert room.governor(0) == "performance"
    # On disk before anything is switched, and for this group only.
    journalled = room.journal.read()
    assert journalled[0] == renewed.originals
    assert journalled[1][-1].value == b"schedutil\n"
    assert room.held_groups.renew(0) is None
    room.held_groups.take(0)
    assert room.held_groups.renew(0) is None, "userspace is ours"
    assert room.held_groups.restore_all() == []
    assert room.governor(0) == "performance"


def test_a_governor_that_was_changed_after_the_take_stays(room: Room) -> None:
    room.held_groups.prepare(room.topology, [0, 1])
    for number in (0, 1):
        room.held_groups.take(number)
    change_governor(room, "performance")
    assert room.held_groups.restore_all() == []
    assert (room.governor(0), room.governor(1)) == ("performance", "schedutil")
    assert room.journal.read() == {}


def refuse_restoring(room: Room) -> None:
    """Have group 0's open descriptor refuse, as that of an offline CPU does."""
    prepared = room.held_groups.held(0)
    assert prepared
    path = room.tree.root / POLICY.format(0, "scaling_governor")
    refusing = os.open(path, os.O_RDONLY)
    os.dup2(refusing, prepared.original_fds[-1])
    os.close(refusing)


def test_originals_that_the_kernel_refused_stay_journalled_until_they_are_back(
    room: Room,
) -> None:
    room.held_groups.prepare(room.topology, [0])
    room.held_groups.take(0)
    refuse_restoring(room)
    with pytest.raises(SysfsError):
        room.held_groups.restore(0)
    room.held_groups.drop([0])
    assert set(room.journal.read()) == {0}
    assert room.governor(0) == "userspace"
    room.held_groups.restore_left_over()
    assert room.governor(0) == "schedutil"
    assert room.journal.read() == {}
    assert room.held_groups.prepare(room.topology, [0]) == {}
    room.held_groups.restore_all()


def test_what_is_refused_at_the_end_stays_journalled(room: Room) -> None:
    room.held_groups.prepare(room.topology, [0, 1])
    room.held_groups.take(0)
    room.held_groups.take(1)
    governor = room.tree.root / POLICY.format(0, "scaling_governor")
    refuse_restoring(room)
    with pytest.raises(SysfsError):
        room.held_groups.restore(0)
    room.held_groups.drop([0])
    room.break_governor(0)
    (refusal,) = room.held_groups.restore_all()
    assert refusal.startswith("clock group 0: cannot restore")
    assert set(room.journal.read()) == {0}
    assert room.governor(1) == "schedutil"
    governor.unlink()
    governor.write_text("userspace\n")
    assert room.held_groups.restore_all() == []
    assert (room.governor(0), room.journal.read()) == ("schedutil", {})


def test_what_an_earlier_run_left_and_the_kernel_refuses_is_not_forgotten(
    room: Room,
) -> None:
    room.held_groups.prepare(room.topology, [0])
    room.held_groups.take(0)
    governor = room.tree.root / POLICY.format(0, "scaling_governor")
    room.break_governor(0)
    later = HeldGroups(room.tree, room.journal, fallback_governor="schedutil")
    assert set(later.replay().kept) == {0}
    governor.unlink()
    governor.write_text("userspace\n")
    # Restored before anything else is done with it.
    assert later.prepare(room.topology, [0]) == {}
    held = later.held(0)
    assert held
    assert held.originals[-1].value == b"schedutil\n"
    assert later.restore_all() == []
    assert room.journal.read() == {}
    room.held_groups.drop([0])
