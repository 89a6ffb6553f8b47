# SPDX-License-Identifier: Apache-2.0
"""The clock groups that main holds, on a simulated tree."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import JournalError, SysfsError
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import Topology, read_topology

if TYPE_CHECKING:
    from pathlib import Path

POLICY = "devices/system/cpu/cpufreq/policy{}/{}"


class Host:
    def __init__(self, directory: Path, run_dir: Path | None = None) -> None:
        lay_out(directory / "sys", cpus=4)
        self.tree = CpuTree(directory / "sys")
        self.journal = Journal((run_dir or directory) / JOURNAL_NAME, self.tree)
        self.groups = HeldGroups(self.tree, self.journal, fallback_governor="schedutil")
        self.topology: Topology = read_topology(self.tree)

    def governor(self, number: int) -> str:
        return self.tree.read(POLICY.format(number, "scaling_governor"))

    def break_governor(self, number: int) -> None:
        path = self.tree.root / POLICY.format(number, "scaling_governor")
        path.unlink()
        path.symlink_to("/dev/full")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_preparing_journals_the_originals_and_changes_nothing(host: Host) -> None:
    before = host.governor(0)
    assert host.groups.prepare(host.topology, [0, 1, 2]) == {}
    assert set(host.journal.read()) == {0, 1, 2}
    assert host.governor(0) == before
    host.groups.restore_all()


def test_a_group_that_refuses_does_not_prevent_others_from_being_prepared(
    host: Host,
) -> None:
    host.break_governor(1)
    refused = host.groups.prepare(host.topology, [0, 1, 99])
    assert set(refused) == {1, 99}
    assert isinstance(refused[1], SysfsError)
    assert set(host.journal.read()) == {0}
    host.groups.restore_all()


def test_only_taken_groups_are_restored(host: Host) -> None:
    host.groups.prepare(host.topology, [0, 1])
    host.groups.take(0)
    assert host.governor(0) == "userspace"
    # Another program changes a group that is merely prepared.
    path = host.tree.root / POLICY.format(1, "scaling_governor")
    path.write_text("performance\n", encoding="ascii")
    assert host.groups.restore_all() == []
    assert host.governor(0) == "schedutil"
    assert host.governor(1) == "performance"
    assert host.journal.read() == {}


def test_without_its_run_directory_no_group_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    host = Host(tmp_path, tmp_path / "run")
    host.groups.prepare(host.topology, [0, 1])
    host.groups.take(0)
    host.groups.restore(0)
    shutil.rmtree(tmp_path / "run")
    for number in (0, 1):
        assert host.groups.renew(number) is None
        with pytest.raises(JournalError, match="No such file"):
            host.groups.take(number)
        assert host.governor(number) == "schedutil"
    (tmp_path / "run").mkdir()
    host.groups.take(0)
    assert host.governor(0) == "userspace"
    assert set(host.journal.read()) == {0, 1}
    assert host.groups.restore_all() == []


def change_governor(host: Host, governor: str) -> None:
    path = host.tree.root / POLICY.format(0, "scaling_governor")
    path.write_text(f"{governor}\n", encoding="ascii")


def test_a_governor_that_was_changed_before_the_take_is_restored(
    host: Host,
) -> None:
    host.groups.prepare(host.topology, [0, 1])
    assert host.groups.renew(0) is None
    change_governor(host, "performance")
    renewed = host.groups.renew(0)
    assert renewed
    assert renewed is host.groups.held(0)
    assert renewed.group.governor == "performance"
    assert host.governor(0) == "performance"
    # It is on disk before anything is changed, and only for this group.
    journalled = host.journal.read()
    assert journalled[0] == renewed.originals
    assert journalled[1][-1].value == b"schedutil\n"
    assert host.groups.renew(0) is None
    host.groups.take(0)
    assert host.groups.renew(0) is None, "userspace was set by the take"
    assert host.groups.restore_all() == []
    assert host.governor(0) == "performance"


def test_a_governor_that_was_changed_after_the_take_stays(host: Host) -> None:
    host.groups.prepare(host.topology, [0, 1])
    for number in (0, 1):
        host.groups.take(number)
    change_governor(host, "performance")
    assert host.groups.restore_all() == []
    assert (host.governor(0), host.governor(1)) == ("performance", "schedutil")
    assert host.journal.read() == {}


def refuse_restoring(host: Host) -> None:
    """Make the open descriptor of group 0 refuse, like that of an offline CPU."""
    prepared = host.groups.held(0)
    assert prepared
    path = host.tree.root / POLICY.format(0, "scaling_governor")
    refusing = os.open(path, os.O_RDONLY)
    os.dup2(refusing, prepared.original_fds[-1])
    os.close(refusing)


def test_refused_originals_stay_journalled_until_they_are_restored(
    host: Host,
) -> None:
    host.groups.prepare(host.topology, [0])
    host.groups.take(0)
    refuse_restoring(host)
    with pytest.raises(SysfsError):
        host.groups.restore(0)
    host.groups.drop([0])
    assert set(host.journal.read()) == {0}
    assert host.governor(0) == "userspace"
    host.groups.retry_restoring()
    assert host.governor(0) == "schedutil"
    assert host.journal.read() == {}
    assert host.groups.prepare(host.topology, [0]) == {}
    host.groups.restore_all()


def test_a_group_that_cannot_be_taken_back_stays_journalled(host: Host) -> None:
    host.groups.prepare(host.topology, [0])
    host.groups.take(0)
    refuse_restoring(host)
    with pytest.raises(SysfsError):
        host.groups.take(0)
    host.groups.drop([0])
    assert host.governor(0) == "userspace"
    host.groups.retry_restoring()
    assert host.governor(0) == "schedutil"


def test_originals_that_are_refused_at_the_end_stay_journalled(host: Host) -> None:
    host.groups.prepare(host.topology, [0, 1])
    host.groups.take(0)
    host.groups.take(1)
    governor = host.tree.root / POLICY.format(0, "scaling_governor")
    refuse_restoring(host)
    with pytest.raises(SysfsError):
        host.groups.restore(0)
    host.groups.drop([0])
    host.break_governor(0)
    (refusal,) = host.groups.restore_all()
    assert refusal.startswith("clock group 0: cannot restore")
    assert set(host.journal.read()) == {0}
    assert host.governor(1) == "schedutil"
    governor.unlink()
    governor.write_text("userspace\n")
    assert host.groups.restore_all() == []
    assert (host.governor(0), host.journal.read()) == ("schedutil", {})


def test_groups_of_a_previous_run_that_are_refused_are_not_forgotten(
    host: Host,
) -> None:
    host.groups.prepare(host.topology, [0])
    host.groups.take(0)
    governor = host.tree.root / POLICY.format(0, "scaling_governor")
    host.break_governor(0)
    later = HeldGroups(host.tree, host.journal, fallback_governor="schedutil")
    assert set(later.replay().kept) == {0}
    governor.unlink()
    governor.write_text("userspace\n")
    # It is restored before it is prepared.
    assert later.prepare(host.topology, [0]) == {}
    held = later.held(0)
    assert held
    assert held.originals[-1].value == b"schedutil\n"
    assert later.restore_all() == []
    assert host.journal.read() == {}
    host.groups.drop([0])
