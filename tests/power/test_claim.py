"""One holder per tree, by a real lock between real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import ClaimError, SysfsError
from orchestrator.power.claim import CpuTreeClaim
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
import sys
from pathlib import Path
from orchestrator.power.claim import CpuTreeClaim
from orchestrator.power.sysfs import CpuTree
claim = CpuTreeClaim(CpuTree(Path(sys.argv[1])))
claim.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the tree."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_daemon_is_refused_and_told_about(
    tree: CpuTree, holder: subprocess.Popen[str]
) -> None:
    claim = CpuTreeClaim(tree)
    with pytest.raises(ClaimError) as caught:
        claim.acquire()
    assert str(tree.cpu_dir) in str(caught.value)
    assert "observe" in caught.value.hint
    assert not claim.is_held
    if "another process" not in str(caught.value):  # the file system may hide it
        assert f"process {holder.pid} (" in str(caught.value)


def test_a_killed_holder_holds_nothing(
    tree: CpuTree, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait(timeout=10)
    with CpuTreeClaim(tree) as claim:
        assert claim.is_held
    assert not claim.is_held


def test_the_same_tree_by_another_path_is_the_same_claim(
    tree: CpuTree, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(tree.root)
    with (
        CpuTreeClaim(tree),
        pytest.raises(ClaimError, match="alias"),
        CpuTreeClaim(CpuTree(tmp_path / "alias")),
    ):
        pass


def test_different_trees_have_different_holders(tree: CpuTree, tmp_path: Path) -> None:
    lay_out(tmp_path / "other", cpus=1)
    with CpuTreeClaim(tree), CpuTreeClaim(CpuTree(tmp_path / "other")) as other:
        assert other.is_held


def test_acquiring_and_releasing_are_idempotent(tree: CpuTree) -> None:
    claim = CpuTreeClaim(tree)
    claim.release()
    claim.acquire()
    claim.acquire()
    claim.release()
    claim.release()
    with CpuTreeClaim(tree) as other:
        assert other.is_held


def test_a_child_that_outlives_the_daemon_does_not_hold_the_tree(
    tree: CpuTree,
) -> None:
    claim = CpuTreeClaim(tree)
    claim.acquire()
    program = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        # The kernel lets us go on a moment before it closes the child's descriptors.
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        claim.release()
        with CpuTreeClaim(tree) as other:
            assert other.is_held


def test_a_refused_claim_leaks_no_descriptor(tree: CpuTree) -> None:
    with CpuTreeClaim(tree):
        before = os.listdir("/proc/self/fd")  # noqa: PTH208 - numbers, not paths
        with pytest.raises(ClaimError):
            CpuTreeClaim(tree).acquire()
        assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_a_directory_that_is_no_cpu_tree_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SysfsError, match="ENOENT"):
        CpuTreeClaim(CpuTree(tmp_path)).acquire()
