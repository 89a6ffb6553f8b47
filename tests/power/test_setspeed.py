# SPDX-License-Identifier: Apache-2.0
"""The mechanism setspeed when the kernel refuses, for which /dev/full stands in."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import SysfsError
from orchestrator.power.attribute import (
    restore_attribute,
    restore_attributes,
    write_attribute,
)
from orchestrator.power.mechanisms.setspeed import SetspeedMechanism
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_current_khz, read_topology
from tests.power.conftest import read_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.power.group import ClockGroup

MECHANISM = SetspeedMechanism()


@pytest.fixture
def group(tree: CpuTree) -> ClockGroup:
    return read_topology(tree).groups[0]


@pytest.fixture
def full() -> Iterator[int]:
    """A descriptor on which the kernel refuses every write with ENOSPC."""
    fd = os.open("/dev/full", os.O_RDWR)
    yield fd
    os.close(fd)


def refuse(tree: CpuTree, path: str) -> None:
    (tree.root / path).unlink()
    (tree.root / path).symlink_to("/dev/full")


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_longer_older_value_is_restored_exactly(tree: CpuTree) -> None:
    attributes = ("scaling_setspeed", "scaling_governor")
    group = read_topology(tree).groups[0]
    (tree.root / group.path("scaling_setspeed")).write_text("3000000   \n")
    (tree.root / group.path("scaling_governor")).write_text("conservative\n")
    before = read_all(tree.root)
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        MECHANISM.take(prepared)
        prepared.writer.write(b"900000\n")
        assert tree.read(group.path("scaling_setspeed")) == "900000"
        assert tree.read(group.path("scaling_governor")) == "userspace"
        assert read_current_khz(tree, group) == 900_000
        prepared.restore()
    assert read_all(tree.root) == before
    assert [o.path for o in prepared.originals] == [group.path(a) for a in attributes]


def test_a_setspeed_that_is_not_a_number_is_not_an_original(
    tree: CpuTree, group: ClockGroup
) -> None:
    # As the kernel prints, unless the governor is userspace.
    (tree.root / group.path("scaling_setspeed")).write_text("<unsupported>\n")
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        assert [o.path for o in prepared.originals] == [group.path("scaling_governor")]
        assert prepared.writer.fds[0] not in prepared.original_fds


def test_a_refused_frequency_is_reported_with_the_kernel_s_error(
    tree: CpuTree, group: ClockGroup
) -> None:
    refuse(tree, group.path("scaling_setspeed"))
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        MECHANISM.take(prepared)
        with pytest.raises(OSError, match="No space left") as caught:
            prepared.writer.write(b"1200000\n")
        prepared.restore()
    assert caught.value.errno == errno.ENOSPC
    assert tree.read(group.path("scaling_governor")) == "schedutil"


def test_a_refused_governor_fails_before_anything_changes(
    tree: CpuTree, group: ClockGroup
) -> None:
    refuse(tree, group.path("scaling_governor"))
    before = read_all(tree.root)
    descriptors = count_descriptors()
    with pytest.raises(SysfsError) as caught:
        MECHANISM.prepare(tree, group)
    assert caught.value.errno == errno.ENOSPC
    assert count_descriptors() == descriptors
    assert read_all(tree.root) == before


def test_a_refused_take_leaves_the_governor(
    tree: CpuTree, group: ClockGroup, full: int
) -> None:
    before = read_all(tree.root)
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        os.dup2(full, prepared.original_fds[-1])
        with pytest.raises(SysfsError) as caught:
            MECHANISM.take(prepared)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.path.endswith("policy0/scaling_governor")
    assert read_all(tree.root) == before


def test_the_governor_is_restored_even_if_the_frequency_is_refused(
    tree: CpuTree, group: ClockGroup, full: int
) -> None:
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        MECHANISM.take(prepared)
        os.dup2(full, prepared.writer.fds[0])
        with pytest.raises(SysfsError) as caught:
            prepared.restore()
    assert caught.value.path.endswith("policy0/scaling_setspeed")
    assert tree.read(group.path("scaling_governor")) == "schedutil"


@pytest.mark.parametrize("name", ["scaling_governor", "scaling_setspeed"])
@pytest.mark.parametrize("kind", ["absent", "directory"])
def test_a_file_that_cannot_be_opened_is_named_and_no_descriptor_leaks(
    tree: CpuTree, group: ClockGroup, name: str, kind: str
) -> None:
    path = tree.root / group.path(name)
    path.unlink()
    if kind == "directory":
        path.mkdir()
    descriptors = count_descriptors()
    with pytest.raises(SysfsError) as caught:
        MECHANISM.prepare(tree, group)
    assert caught.value.path == str(path)
    assert caught.value.errno == (errno.ENOENT if kind == "absent" else errno.EISDIR)
    assert count_descriptors() == descriptors


@pytest.mark.parametrize("name", ["scaling_governor", "scaling_setspeed"])
def test_a_file_without_write_permission_is_named(
    tree: CpuTree, group: ClockGroup, name: str
) -> None:
    # A sysctl that even root may only read.
    path = tree.root / group.path(name)
    path.unlink()
    path.symlink_to("/proc/sys/kernel/ostype")
    with pytest.raises(SysfsError) as caught:
        MECHANISM.prepare(tree, group)
    assert caught.value.path == str(path)
    assert caught.value.errno == errno.EACCES


def test_closing_is_idempotent(tree: CpuTree, group: ClockGroup) -> None:
    descriptors = count_descriptors()
    prepared = MECHANISM.prepare(tree, group)
    assert count_descriptors() == descriptors + 2
    prepared.close()
    prepared.close()
    assert count_descriptors() == descriptors


def test_a_group_found_in_userspace_causes_a_warning_and_returns_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lay_out(tmp_path / "sys", cpus=1, governor="userspace")
    tree = CpuTree(tmp_path / "sys")
    with closing(MECHANISM.prepare(tree, read_topology(tree).groups[0])) as prepared:
        assert prepared.originals[-1].value == b"userspace\n"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "found in userspace without a journal" in caplog.text


def test_a_fallback_governor_replaces_a_userspace_that_was_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lay_out(tmp_path / "sys", cpus=1, governor="userspace")
    tree = CpuTree(tmp_path / "sys")
    mechanism = SetspeedMechanism(fallback_governor="performance")
    with closing(mechanism.prepare(tree, read_topology(tree).groups[0])) as prepared:
        assert tree.read(prepared.originals[-1].path) == "userspace"
        mechanism.take(prepared)
        prepared.restore()
    path = tree.root / prepared.originals[-1].path
    assert path.read_bytes() == b"performance\n"
    assert "governor_at_release=performance" in caplog.text


def test_any_other_governor_is_restored_in_spite_of_the_fallback(
    tree: CpuTree, group: ClockGroup, caplog: pytest.LogCaptureFixture
) -> None:
    mechanism = SetspeedMechanism(fallback_governor="performance")
    with closing(mechanism.prepare(tree, group)) as prepared:
        assert prepared.originals[-1].value == b"schedutil\n"
    assert not caplog.records


@pytest.mark.parametrize("write", [write_attribute, restore_attribute])
def test_a_partial_write_is_an_error(
    write: Callable[[int, bytes], None], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (tmp_path / "attribute").open("wb") as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
        try:
            with pytest.raises(OSError, match="Input/output") as caught:
                write(file.fileno(), b"1200000")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EIO


def test_refused_originals_are_retried_after_the_governor(
    tmp_path: Path, full: int
) -> None:
    # As for scaling_setspeed while another governor is active. Here every attempt is
    # refused, which must not affect the others.
    with (tmp_path / "governor").open("wb+") as governor:
        refused = restore_attributes(
            [(full, b"1200000\n"), (governor.fileno(), b"schedutil\n")]
        )
        assert governor.read() == b"schedutil\n"
    assert [(fd, error.errno) for fd, error in refused] == [(full, errno.ENOSPC)]


def test_a_kernel_without_the_governor_has_a_hint(
    tree: CpuTree, group: ClockGroup
) -> None:
    # This file accepts numbers only: EINVAL, as for an unknown governor.
    with (
        closing(MECHANISM.prepare(tree, group)) as prepared,
        Path("/proc/self/oom_score_adj").open("rb+", buffering=0) as refusing,
    ):
        os.dup2(refusing.fileno(), prepared.original_fds[-1])
        with pytest.raises(SysfsError) as caught:
            MECHANISM.take(prepared)
    assert caught.value.errno == errno.EINVAL
    assert "modprobe cpufreq_userspace" in caught.value.hint


@pytest.fixture
def amd_tree(tmp_path: Path) -> CpuTree:
    """One CPU whose driver accepts any frequency."""
    lay_out(tmp_path / "amd", cpus=1, driver="amd-pstate")
    return CpuTree(tmp_path / "amd")


@pytest.mark.parametrize(
    ("low_khz", "high_khz", "khz"),
    [
        (600_000, 2_050_000, 2_050_000),  # limits need not be steps
        (2_650_000, 3_600_000, 2_650_000),
        (600_000, 3_600_000, 2_362_230),  # as intel_cpufreq on a hybrid CPU
    ],
)
def test_what_the_kernel_makes_of_a_granted_frequency_is_no_drift(
    amd_tree: CpuTree, low_khz: int, high_khz: int, khz: int
) -> None:
    tree = amd_tree
    (group,) = read_topology(tree).groups
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        MECHANISM.take(prepared)
        (tree.root / group.path("scaling_min_freq")).write_text(f"{low_khz}\n")
        (tree.root / group.path("scaling_max_freq")).write_text(f"{high_khz}\n")
        prepared.writer.write(b"%d\n" % khz)
        assert MECHANISM.find_drift(tree, prepared, 2_300_000) is None
        for other_khz in (2_200_000, 2_400_000, 3_000_000):
            prepared.writer.write(b"%d\n" % other_khz)
            change = MECHANISM.find_drift(tree, prepared, 2_300_000)
            assert change is not None
            assert change.startswith("the frequency was changed from 2.30 GHz to ")
        prepared.restore()


def test_between_turbo_and_nominal_every_other_frequency_is_drift(
    amd_tree: CpuTree,
) -> None:
    tree = amd_tree
    (group,) = read_topology(tree).groups
    with closing(MECHANISM.prepare(tree, group)) as prepared:
        MECHANISM.take(prepared)
        prepared.writer.write(b"3000000\n")
        highest_khz = group.steps.highest_khz
        assert MECHANISM.find_drift(tree, prepared, highest_khz) is not None
        prepared.restore()
