# SPDX-License-Identifier: Apache-2.0
"""One holder per tree, with a real lock between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import SysfsError, TreeLockedError
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import MARKER, CpuTree
from orchestrator.power.tree_lock import CpuTreeLock
from tests.rig.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
import sys
from pathlib import Path
from orchestrator.power.tree_lock import CpuTreeLock
from orchestrator.power.sysfs import CpuTree
lock = CpuTreeLock(CpuTree(Path(sys.argv[1])))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def running(program: str, root: Path, word: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program for the tree until it is killed; it has printed a word."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{word}\n"
        yield process
        process.kill()


@pytest.fixture
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    with running(HOLD, root, "held") as process:
        yield process


def test_another_daemon_is_refused_and_the_holder_is_named(
    tree: CpuTree, holder: subprocess.Popen[str]
) -> None:
    lock = CpuTreeLock(tree)
    with pytest.raises(TreeLockedError) as caught:
        lock.acquire()
    assert str(tree.cpu_dir) in str(caught.value)
    assert "observe" in caught.value.hint
    assert not lock.is_held
    if "another process" not in str(caught.value):  # the file system may hide it
        assert f"process {holder.pid} (" in str(caught.value)


def test_a_killed_holder_releases_the_lock(
    tree: CpuTree, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait(DEADLINE_S)
    with CpuTreeLock(tree) as lock:
        assert lock.is_held
    assert not lock.is_held


HOG = """
import fcntl, os, sys
taken = []
for path in sys.argv[1:]:
    try:
        fd = os.open(path, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken.append(path)
    except OSError:
        pass
print(*taken, sep=",", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("has_marker", [True, False], ids=["simulated", "as Linux's"])
def test_who_may_only_read_the_tree_cannot_lock_it(has_marker: bool) -> None:  # noqa: FBT001
    with tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        lay_out(directory / "sys", cpus=1)
        if not has_marker:
            (directory / "sys" / MARKER).unlink()
        tree = CpuTree(directory / "sys")
        lock_dir = directory / "locks"
        with CpuTreeLock(tree, lock_dir=lock_dir):
            pass
        everything = [directory, *directory.rglob("*")]
        with subprocess.Popen(
            [Path(sys.executable).resolve(), "-I", "-c", HOG, *everything],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=65_534,
            text=True,
        ) as hog:
            assert hog.stdout is not None
            assert str(tree.cpu_dir) in hog.stdout.readline().rstrip().split(",")
            with CpuTreeLock(tree, lock_dir=lock_dir) as lock:
                assert lock.is_held
                with pytest.raises(TreeLockedError):
                    CpuTreeLock(tree, lock_dir=lock_dir).acquire()


def test_without_root_s_directory_the_tree_itself_is_locked(tree: CpuTree) -> None:
    (tree.root / MARKER).unlink()
    bare, forbidden = CpuTree(tree.root), Path("/sys/vmpower-claims")
    with CpuTreeLock(bare, lock_dir=forbidden) as lock:
        assert lock.is_held
        with pytest.raises(TreeLockedError):
            CpuTreeLock(bare, lock_dir=forbidden).acquire()


def test_the_same_tree_by_another_path_has_the_same_lock(
    tree: CpuTree, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(tree.root)
    with (
        CpuTreeLock(tree),
        pytest.raises(TreeLockedError, match="alias"),
        CpuTreeLock(CpuTree(tmp_path / "alias")),
    ):
        pass


def test_different_trees_have_different_locks(tree: CpuTree, tmp_path: Path) -> None:
    lay_out(tmp_path / "other", cpus=1)
    with CpuTreeLock(tree), CpuTreeLock(CpuTree(tmp_path / "other")) as other:
        assert other.is_held


def test_acquiring_and_releasing_are_idempotent(tree: CpuTree) -> None:
    lock = CpuTreeLock(tree)
    lock.release()
    lock.acquire()
    lock.acquire()
    lock.release()
    lock.release()
    with CpuTreeLock(tree) as other:
        assert other.is_held


def test_a_child_that_outlives_the_daemon_does_not_hold_the_lock(
    tree: CpuTree,
) -> None:
    lock = CpuTreeLock(tree)
    lock.acquire()
    program = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        # The kernel closes the child's descriptors a moment after the fork.
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        lock.release()
        with CpuTreeLock(tree) as other:
            assert other.is_held


USE = """
import os, sys
from pathlib import Path
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.tree_lock import CpuTreeLock
from orchestrator.system import lock_file
lock_file.use(CpuTreeLock(CpuTree(Path(sys.argv[1]))).open_for_monitor())
print("used", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def monitor(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the lock file, as a monitor does."""
    with running(USE, root, "used") as process:
        yield process


def test_the_monitor_of_a_killed_daemon_is_waited_for(
    tree: CpuTree, monitor: subprocess.Popen[str]
) -> None:
    assert monitor.stdin is not None
    ending = threading.Timer(0.1, monitor.stdin.close)  # it ends while we wait
    ending.start()
    with CpuTreeLock(tree, restore_timeout_s=DEADLINE_S):
        # It ends a moment after its files are closed; it was not killed.
        assert monitor.wait(DEADLINE_S) == 0
    ending.join()


def test_the_monitor_of_a_killed_daemon_is_killed_if_it_hangs(
    tree: CpuTree, monitor: subprocess.Popen[str]
) -> None:
    monitor.send_signal(signal.SIGSTOP)
    with CpuTreeLock(tree, restore_timeout_s=0.05):
        assert monitor.wait(DEADLINE_S) == -signal.SIGKILL


def test_the_monitor_of_a_running_daemon_is_left_alone(
    tree: CpuTree, holder: subprocess.Popen[str], monitor: subprocess.Popen[str]
) -> None:
    assert holder.poll() is None
    with pytest.raises(TreeLockedError):
        CpuTreeLock(tree).acquire()
    assert monitor.poll() is None


def test_a_refused_lock_leaks_no_descriptor(tree: CpuTree) -> None:
    with CpuTreeLock(tree):
        before = os.listdir("/proc/self/fd")  # noqa: PTH208 - numbers, not paths
        with pytest.raises(TreeLockedError):
            CpuTreeLock(tree).acquire()
        assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_a_directory_that_is_not_a_cpu_tree_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SysfsError, match="ENOENT"):
        CpuTreeLock(CpuTree(tmp_path)).acquire()
