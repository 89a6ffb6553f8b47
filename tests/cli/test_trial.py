# SPDX-License-Identifier: Apache-2.0
"""The parts of `vmpower try` that need no process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cli.app import app
from cli.trial.directory import TrialDirectory
from cli.trial.errors import TrialError
from cli.trial.guest import needed_khz
from cli.trial.run_times import RunTimes
from orchestrator.sampling.qemu_times import QemuTimes
from orchestrator.values.domain import DomainId
from tests.cli.commands import new_runner

if TYPE_CHECKING:
    from pathlib import Path

FW = DomainId("00000000-0000-4000-8000-000000000001")


def test_the_daemon_s_reader_of_run_times_reads_the_imitation(tmp_path: Path) -> None:
    times, reader = RunTimes(tmp_path, 4711, 2), QemuTimes(tmp_path)
    times.add([1.5, 0.25])
    first = reader.read({FW: (4711, 2)})[FW]
    times.add([1.0, 10_000.0])
    second = reader.read({FW: (4711, 2)})[FW]
    reader.close()
    assert first.vcpus == {0: 1_500_000_000, 1: 250_000_000}
    assert second.vcpus == {0: 2_500_000_000, 1: 10_000_250_000_000}
    assert first.others == second.others == 0


def test_work_needs_less_than_the_highest_frequency_and_varies() -> None:
    for phase in (0.0, 0.37, 0.9):
        needed = [needed_khz(quarter / 4, phase) for quarter in range(400)]
        assert 0 < min(needed) < 300_000
        assert 800_000 < max(needed) < 3_000_000


def test_a_directory_is_emptied_when_entered_and_removed_when_left(
    tmp_path: Path,
) -> None:
    path = tmp_path / "try"
    (path / "cpus").mkdir(parents=True)
    (path / "cpus/file").touch()
    (path / "elsewhere").symlink_to(tmp_path)
    path.chmod(0o700)
    with TrialDirectory(path):
        assert [entry.name for entry in path.iterdir()] == ["lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    with TrialDirectory(tmp_path / "try") as first:
        (first.path / "log").touch()
        with pytest.raises(TrialError, match="already running") as refused:
            TrialDirectory(first.path, patience_s=0.0).__enter__()
        assert refused.value.hint == f"export VMPOWER_RUN_DIR={first.path}/run"
        assert (first.path / "log").exists()


def test_a_lock_outlives_its_holder_as_long_as_a_child_has_it(tmp_path: Path) -> None:
    first = TrialDirectory(tmp_path / "try")
    first.__enter__()
    inherited = os.dup(first.lock_fd)
    os.close(first.lock_fd)
    with pytest.raises(TrialError, match="already running"):
        TrialDirectory(first.path, patience_s=0.0).__enter__()
    os.close(inherited)
    with TrialDirectory(first.path):
        pass
    assert not first.path.exists()


@pytest.mark.parametrize("kind", ["writable by others", "a link"])
def test_a_directory_that_others_can_change_is_refused(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "try"
    if kind == "a link":
        (tmp_path / "target").mkdir()
        path.symlink_to(tmp_path / "target")
    else:
        path.mkdir()
        path.chmod(0o777)
    with pytest.raises(TrialError, match=r"symbolic link|changed by other users"):
        TrialDirectory(path).__enter__()


def test_an_unknown_driver_is_a_usage_error() -> None:
    result = new_runner().invoke(app, ["try", "--driver", "nosuch"])
    assert result.exit_code == 2
    assert "nosuch" in result.stderr
