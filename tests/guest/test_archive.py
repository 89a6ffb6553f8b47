# SPDX-License-Identifier: Apache-2.0
"""The archive `vmpower-guest.pyz`: complete, reproducible, for old Pythons."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
OLDEST = (3, 9)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("archive") / "vmpower-guest.pyz")


def build(output: Path) -> Path:
    program = CHECKOUT / "scripts" / "build_guest.py"
    subprocess.run([sys.executable, program, output], check=True, capture_output=True)
    return output


def find_python(name: str) -> str | None:
    """Find a working interpreter on the PATH or in pyenv."""
    installed = (Path.home() / ".pyenv" / "versions").glob(f"*/bin/{name}")
    for found in (shutil.which(name), *map(str, sorted(installed))):
        if found and subprocess.run([found, "-c", ""], check=False).returncode == 0:
            return found
    return None


def test_the_archive_runs_alone_and_prints_its_version(archive: Path) -> None:
    done = subprocess.run(
        [archive, "--version"],
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("vmpower-guest ")


def test_the_library_in_the_archive_can_be_imported(archive: Path) -> None:
    program = (
        "from orchestrator.guest import VCpuClock\n"
        "from orchestrator.guest.async_clock import AsyncVCpuClock\n"
        "print(VCpuClock.__module__, AsyncVCpuClock.__module__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd="/",
        env={"PYTHONPATH": str(archive)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "orchestrator.guest.clock orchestrator.guest.async_clock\n"


def test_the_archive_is_reproducible(archive: Path, tmp_path: Path) -> None:
    again = build(tmp_path / "again.pyz")
    assert again.read_bytes() == archive.read_bytes()


def test_every_module_has_the_syntax_of_the_oldest_python(
    archive: Path,
) -> None:
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        for name in names:
            ast.parse(opened.read(name), name, feature_version=OLDEST)
    assert "orchestrator/guest/pairing.py" in names


def test_the_archive_contains_nothing_of_the_daemon(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        packages = {name.rpartition("/")[0] for name in opened.namelist()}
    assert packages == {
        "",
        "orchestrator",
        "orchestrator/channel",
        "orchestrator/channel/protocol",
        "orchestrator/guest",
        "orchestrator/values",
    }


@pytest.mark.parametrize("minor", [9, 10])
def test_the_archive_runs_on_an_old_python(archive: Path, minor: int) -> None:
    python = find_python(f"python3.{minor}")
    if python is None:
        pytest.skip(f"python3.{minor} is not installed")
    done = subprocess.run(
        [python, "-W", "error", archive, "set", "0", "fast"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "invalid choice: 'fast'" in done.stderr
