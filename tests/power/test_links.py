# SPDX-License-Identifier: Apache-2.0
"""Links do not lead writes out of a CPU tree."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import SysfsError
from orchestrator.power.sysfs import MARKER, CpuTree, policy_path

if TYPE_CHECKING:
    from pathlib import Path

GOVERNOR = policy_path(0, "scaling_governor")


def give_away(root: Path) -> None:
    os.chown(root, 1_234, -1)


def remove_marker(root: Path) -> None:
    (root / MARKER).unlink()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give away")
OTHERS = [
    pytest.param(remove_marker, id="kernel"),
    pytest.param(give_away, id="foreign", marks=needs_root),
]


@pytest.mark.parametrize("change", OTHERS)
@pytest.mark.parametrize("part", [GOVERNOR, policy_path(0), "devices/system"])
def test_a_link_on_the_way_to_a_file_that_is_written_is_refused(
    root: Path, part: str, change: object
) -> None:
    assert callable(change)
    target = root / part
    elsewhere = target.with_name("elsewhere")
    target.rename(elsewhere)
    target.symlink_to(elsewhere)
    change(root)
    tree = CpuTree(root)
    with pytest.raises(SysfsError) as caught:
        tree.open(GOVERNOR, writable=True)
    assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}
    assert tree.read(GOVERNOR) == "schedutil"  # reading changes nothing


@pytest.mark.parametrize("change", OTHERS)
def test_files_without_links_are_written_and_nothing_stays_open(
    root: Path, change: object
) -> None:
    assert callable(change)
    change(root)
    alias = root.with_name("alias")
    alias.symlink_to(root)  # the root may be a link: the operator has named it
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of descriptors
    fd = CpuTree(alias).open(GOVERNOR, writable=True)
    os.write(fd, b"userspace\n")
    os.close(fd)
    assert CpuTree(root).read(GOVERNOR) == "userspace"
    with pytest.raises(SysfsError):
        CpuTree(root).open(policy_path(77, "scaling_governor"), writable=True)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_no_path_leads_out_of_the_tree(root: Path) -> None:
    remove_marker(root)
    (root.parent / "victim").write_text("precious")
    for path in ("../victim", "devices/../../victim", "devices/.."):
        with pytest.raises(SysfsError, match="EXDEV"):
            CpuTree(root).open(path, writable=True)


def test_links_in_a_simulated_tree_of_this_user_lead_where_they_should(
    root: Path,
) -> None:
    tree = CpuTree(root)
    fd = tree.open(policy_path(0, "scaling_cur_freq"), writable=True)
    os.close(fd)
    assert tree.is_simulated
