# SPDX-License-Identifier: Apache-2.0
"""The journal: complete after any death, and no way to write elsewhere."""

from __future__ import annotations

import dataclasses
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.errors import JournalError
from orchestrator.power.journal import Journal
from orchestrator.power.replay import Replay
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import MARKER, CpuTree
from orchestrator.power.topology import read_governor, read_topology
from tests.power.conftest import MECHANISM, read_all, rewrite, use

if TYPE_CHECKING:
    from orchestrator.power.group import PreparedGroup


def test_every_group_is_restored_exactly(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    before: dict[str, bytes],
    path: Path,
) -> None:
    for group in prepared:
        journal.record(group)
        use(group)
    assert read_all(tree.root) != before
    replay = Journal(path, CpuTree(tree.root)).replay()
    assert replay.restored == (0, 1, 2, 3)
    assert replay.kept == {}
    assert replay.set_aside is None
    assert read_all(tree.root) == before
    assert list(path.parent.iterdir()) == []


def test_replaying_is_idempotent(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree
) -> None:
    journal.record(*prepared)
    journal.replay()
    (tree.root / prepared[0].originals[-1].path).write_text("ondemand\n")
    assert journal.replay().restored == ()
    assert read_governor(tree, prepared[0].group) == "ondemand"


def test_an_interrupted_replay_can_be_repeated(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    before: dict[str, bytes],
    path: Path,
) -> None:
    journal.record(*prepared)
    for group in prepared:
        use(group)
    kept = path.read_bytes()
    journal.replay()
    path.write_bytes(kept)  # died after restoring, before deleting the journal
    assert journal.replay().left == (0, 1, 2, 3)
    assert journal.read() == {}
    assert read_all(tree.root) == before


def test_a_governor_that_was_changed_meanwhile_stays(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree
) -> None:
    journal.record(*prepared)
    for group in prepared[:3]:  # the last one is merely prepared
        use(group)
    changed = {0: "schedutil", 3: "schedutil"}
    for number, governor in changed.items():
        path = tree.root / prepared[number].originals[-1].path
        path.write_text(f"{governor}\n")
    replay = journal.replay()
    assert (replay.restored, replay.left, replay.kept) == ((1, 2), (0, 3), {})
    governors = [read_governor(tree, group.group) for group in prepared]
    assert governors == ["schedutil", "powersave", "conservative", "schedutil"]
    assert journal.read() == {}


def test_the_frequency_of_a_group_found_in_userspace_is_restored(
    journal: Journal, tree: CpuTree
) -> None:
    group = read_topology(tree).groups[0]
    (tree.root / group.path("scaling_governor")).write_text("userspace\n")
    before = read_all(tree.root)
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        journal.record(prepared)
        use(prepared)
    assert read_all(tree.root) != before
    assert journal.replay().restored == (0,)
    assert read_all(tree.root) == before


def die_at(call: int) -> Any:
    """Return an fsync that ends the process, as kill -9 would, at its n-th call."""
    calls = iter(range(1, call + 1))

    def sync(fd: int) -> None:
        if next(calls) == call:
            os._exit(9)
        os.fsync(fd)

    return sync


@pytest.mark.parametrize(
    ("call", "recorded"),
    [(1, {0}), (2, {0, 1})],
    ids=["after the write of the new file", "after the rename"],
)
def test_a_death_while_recording_leaves_a_complete_journal(
    prepared: list[PreparedGroup],
    tree: CpuTree,
    before: dict[str, bytes],
    path: Path,
    call: int,
    recorded: set[int],
) -> None:
    Journal(path, tree).record(prepared[0])
    use(prepared[0])
    child = os.fork()
    if child == 0:
        try:
            Journal(path, tree, sync=die_at(call)).record(prepared[1])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    journal = Journal(path, tree)
    assert set(journal.read()) == recorded
    replay = journal.replay()
    # The other group was not taken yet.
    assert (set(replay.restored), {*replay.left}) == ({0}, recorded - {0})
    assert read_all(tree.root) == before
    journal.record(prepared[1])  # leftover files do no harm
    assert set(journal.read()) == {1}


def test_a_death_before_recording_leaves_nothing_to_restore(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree
) -> None:
    assert len(prepared) == 4
    before = read_all(tree.root)
    assert journal.replay().restored == ()
    assert read_all(tree.root) == before


def test_originals_are_synced_before_the_rename_and_the_rename_before_the_return(
    prepared: list[PreparedGroup], tree: CpuTree, path: Path, before: dict[str, bytes]
) -> None:
    seen = []

    def sync(fd: int) -> None:
        os.fsync(fd)
        is_directory = Path(f"/proc/self/fd/{fd}").readlink() == path.parent
        seen.append((is_directory, path.exists(), read_all(tree.root) == before))

    Journal(path, tree, sync=sync).record(*prepared)
    assert seen == [(False, False, True), (True, True, True)]


def test_a_disk_that_does_not_sync_is_an_error(
    prepared: list[PreparedGroup], tree: CpuTree, path: Path
) -> None:
    def sync(fd: int) -> None:
        raise OSError(5, f"Input/output error on {fd}")

    with pytest.raises(JournalError, match=r"cannot write .*Input/output"):
        Journal(path, tree, sync=sync).record(prepared[0])
    assert Journal(path, tree).read() == {}


def test_a_missing_run_directory_is_an_error(
    journal: Journal, prepared: list[PreparedGroup], path: Path
) -> None:
    path.parent.rmdir()
    with pytest.raises(JournalError, match=r"cannot write .*No such file"):
        journal.record(prepared[0])


def test_a_link_in_place_of_the_new_file_is_not_followed(
    journal: Journal, prepared: list[PreparedGroup], path: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.with_name("restore.json.new").symlink_to(victim)
    journal.record(prepared[0])
    assert victim.read_text() == "precious"
    assert list(path.parent.iterdir()) == [path]
    assert not path.is_symlink()


def test_the_partial_file_of_a_killed_daemon_is_removed_at_the_start(
    journal: Journal, path: Path
) -> None:
    path.with_name("restore.json.new").write_text("{")
    assert journal.replay() == Replay()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("loss", ["removed", "emptied", "replaced"])
def test_a_journal_that_has_disappeared_is_written_again_before_the_next_take(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    before: dict[str, bytes],
    path: Path,
    loss: str,
) -> None:
    journal.record(*prepared[:3])
    use(prepared[0])
    journal.confirm(0)
    older = path.read_bytes()
    journal.record(prepared[3])
    path.unlink()
    if loss == "emptied":  # the directory, and created again
        path.parent.rmdir()
        path.parent.mkdir()
    elif loss == "replaced":
        path.write_bytes(older)
    journal.confirm(1)
    use(prepared[1])
    assert Journal(path, tree).replay().restored == (0, 1)
    assert read_all(tree.root) == before


@pytest.mark.parametrize("is_damaged", [False, True])
def test_what_a_daemon_has_written_is_restored_although_it_has_disappeared(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    path: Path,
    is_damaged: bool,  # noqa: FBT001
) -> None:
    journal.record(*prepared)
    for group in prepared:
        use(group)
    path.unlink()
    if is_damaged:
        path.write_text("{")
    replay = journal.replay(only={1})
    assert replay.restored == (1,)
    assert bool(replay.set_aside) is is_damaged
    assert set(Journal(path, tree).read()) == {0, 2, 3}


def test_without_a_run_directory_no_group_may_be_taken(
    journal: Journal, prepared: list[PreparedGroup], path: Path
) -> None:
    journal.record(*prepared)
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(JournalError, match=r"cannot write .*No such file") as caught:
        journal.confirm(0)
    assert caught.value.hint == "the run directory is gone; restart the daemon"


def test_a_group_that_is_not_journalled_may_not_be_taken(
    journal: Journal, prepared: list[PreparedGroup]
) -> None:
    journal.record(prepared[0])
    with pytest.raises(JournalError, match="has no clock group 1"):
        journal.confirm(1)


class CountedNumber(int):
    """A number that counts how often it is compared."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        CountedNumber.comparisons += 1
        return int(self) == other

    def __hash__(self) -> int:
        return super().__hash__()


def test_forgetting_many_groups_takes_time_in_proportion_to_them(
    journal: Journal, prepared: list[PreparedGroup]
) -> None:
    copies = [
        dataclasses.replace(
            prepared[0], group=dataclasses.replace(prepared[0].group, number=number)
        )
        for number in range(1_000)
    ]
    journal.record(*copies)
    CountedNumber.comparisons = 0
    journal.forget(*map(CountedNumber, range(1_000)))
    assert CountedNumber.comparisons <= 2_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("foreign", ["directory", "file"])
def test_a_journal_of_another_user_is_refused(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    path: Path,
    foreign: str,
) -> None:
    journal.record(*prepared)
    use(prepared[0])
    taken = read_all(tree.root)
    os.chown(path.parent if foreign == "directory" else path, 1_234, -1)
    for refused in (Journal(path, tree).replay, Journal(path, tree).read):
        with pytest.raises(JournalError, match="belongs to user 1234") as caught:
            refused()
        assert caught.value.hint == ("use a directory of user 0, or run as user 1234")
    assert read_all(tree.root) == taken
    assert path.exists()


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
@pytest.mark.parametrize("name", ["directory", "file"])
def test_a_journal_that_others_can_change_is_refused(
    journal: Journal, prepared: list[PreparedGroup], path: Path, name: str, mode: int
) -> None:
    journal.record(prepared[0])
    changed = path.parent if name == "directory" else path
    changed.chmod(mode)
    with pytest.raises(JournalError, match=f"by other users .mode {mode:04o}") as found:
        journal.replay()
    is_shared = mode == 0o1777
    expected = "use a directory that only" if is_shared else f"chmod go-w {changed}"
    assert expected in found.value.hint


@pytest.mark.parametrize("name", ["directory", "file"])
def test_a_link_is_no_journal(
    journal: Journal, prepared: list[PreparedGroup], path: Path, name: str
) -> None:
    journal.record(prepared[0])
    changed = path.parent if name == "directory" else path
    changed.rename(changed.with_name("elsewhere"))
    changed.symlink_to("elsewhere")
    with pytest.raises(JournalError, match="is a symbolic link"):
        journal.replay()


def test_only_the_owner_may_read_the_journal(
    journal: Journal, prepared: list[PreparedGroup], path: Path
) -> None:
    journal.record(prepared[0])
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_oldest_originals_of_a_group_are_kept(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree
) -> None:
    journal.record(prepared[0])
    use(prepared[0])
    with closing(MECHANISM.prepare(tree, prepared[0].group)) as again:
        assert again.originals != prepared[0].originals
        journal.record(again, prepared[1])
    assert journal.read() == {
        0: prepared[0].originals,
        1: prepared[1].originals,
    }


def test_forgotten_groups_are_not_restored(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree, path: Path
) -> None:
    journal.record(*prepared)
    journal.forget(0, 2, 7)
    assert set(journal.read()) == {1, 3}
    for group in prepared:
        use(group)
    assert journal.replay().restored == (1, 3)
    assert read_governor(tree, prepared[0].group) == "userspace"
    journal.record(prepared[0])
    journal.forget(0)
    assert not path.exists()


def test_removing_a_missing_journal_is_not_an_error(
    journal: Journal, path: Path
) -> None:
    journal.remove()
    path.mkdir()
    with pytest.raises(JournalError, match="cannot remove"):
        journal.remove()


@pytest.mark.parametrize("refusal", ["offline", "gone"])
def test_a_group_that_refuses_stays_journalled_and_the_others_are_restored(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    before: dict[str, bytes],
    refusal: str,
) -> None:
    journal.record(*prepared)
    for group in prepared:
        use(group)
    policy = tree.cpu_dir / "cpufreq/policy2"
    hidden = tree.root / "hidden"
    if refusal == "offline":  # the kernel then refuses writes
        (policy / "scaling_governor").rename(hidden)
        (policy / "scaling_governor").symlink_to("/dev/full")
    else:
        policy.rename(hidden)
    replay = journal.replay()
    assert replay.restored == (0, 1, 3)
    assert set(replay.kept) == {2}
    word = "ENOSPC" if refusal == "offline" else "ENOENT"
    assert "policy2/scaling_governor" in replay.kept[2]
    assert word in replay.kept[2]
    assert set(journal.read()) == {2}
    if refusal == "offline":
        (policy / "scaling_governor").unlink()
        hidden.rename(policy / "scaling_governor")
    else:
        hidden.rename(policy)
    assert journal.replay().restored == (2,)
    assert read_all(tree.root) == before


def test_a_single_group_can_be_replayed(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree
) -> None:
    journal.record(*prepared)
    for group in prepared:
        use(group)
    assert journal.replay(only={1}).restored == (1,)
    governors = [read_governor(tree, group.group) for group in prepared]
    assert governors == ["userspace", "powersave", "userspace", "userspace"]
    assert set(journal.read()) == {0, 2, 3}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"boot_id": "00000000-0000-0000-0000-000000000000"}, "last boot"),
        ({"tree": "/somewhere/else"}, "another CPU tree: /somewhere/else"),
    ],
)
def test_a_journal_of_another_tree_or_boot_is_set_aside_and_not_replayed(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    path: Path,
    changes: dict[str, str],
    word: str,
) -> None:
    journal.record(prepared[0])
    use(prepared[0])
    rewrite(path, **changes)
    now, content = read_all(tree.root), path.read_bytes()
    with pytest.raises(JournalError, match=word):
        journal.record(prepared[1])
    journal = Journal(path, tree)  # as of the next daemon
    replay = journal.replay()
    assert replay.restored == ()
    assert word in replay.reason
    assert replay.set_aside is not None
    assert replay.set_aside.read_bytes() == content
    assert read_all(tree.root) == now
    assert journal.read() == {}
    journal.record(prepared[1])
    assert set(journal.read()) == {1}


def test_a_simulated_tree_that_was_created_again_is_another_one(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree, path: Path
) -> None:
    journal.record(*prepared)
    shutil.rmtree(tree.root)
    lay_out(tree.root, cpus=4)
    fresh = read_all(tree.root)
    assert Journal(path, CpuTree(tree.root)).replay().set_aside is not None
    assert read_all(tree.root) == fresh


def test_another_path_to_the_same_tree_is_the_same_tree(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree, path: Path
) -> None:
    journal.record(prepared[0])
    use(prepared[0])
    alias = tree.root.with_name("alias")
    alias.symlink_to(tree.root)
    assert Journal(path, CpuTree(alias)).replay().restored == (0,)


def test_a_journal_that_cannot_be_read_is_an_error(
    journal: Journal, path: Path
) -> None:
    path.mkdir()
    with pytest.raises(JournalError, match="cannot read"):
        journal.replay()


def test_a_tree_without_its_marker_is_another_one(
    journal: Journal, prepared: list[PreparedGroup], tree: CpuTree, path: Path
) -> None:
    journal.record(prepared[0])
    (tree.root / MARKER).unlink()
    assert Journal(path, CpuTree(tree.root)).replay().set_aside is not None


def test_a_journal_that_is_set_aside_says_nothing_about_the_drivers_of_today(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    before: dict[str, bytes],
    path: Path,
) -> None:
    journal.record(*prepared)
    drivers = {str(number): "intel_pstate" for number in range(4)}
    rewrite(path, boot_id="00000000-0000-0000-0000-000000000000", drivers=drivers)
    later = Journal(path, tree)
    assert later.replay().set_aside is not None
    later.record(*prepared)
    for group in prepared:
        use(group)
    assert Journal(path, tree).replay().restored == (0, 1, 2, 3)
    assert read_all(tree.root) == before
