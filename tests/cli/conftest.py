# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a fake daemon, and two ways to run the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from cli.app import app
from tests.cli.commands import new_runner
from tests.control.fixtures import daemon, run_dir

if TYPE_CHECKING:
    from typer.testing import Result

__all__ = ["daemon", "run_dir"]

ROOT = Path(__file__).parents[2]


class Vmpower(Protocol):
    """Runs the command in this process."""

    def __call__(self, *arguments: str) -> Result: ...


@pytest.fixture
def vmpower(run_dir: Path) -> Vmpower:
    def run(*arguments: str) -> Result:
        variables = {"VMPOWER_RUN_DIR": str(run_dir)}
        return new_runner().invoke(app, arguments, env=variables)

    return run


def environment(run_dir: Path, **more: str) -> dict[str, str]:
    """Build the environment of the command in a separate process."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS")
    }
    return {**kept, "VMPOWER_RUN_DIR": str(run_dir), **more}


def start_process(run_dir: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """Start the command in a separate process."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=environment(run_dir, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_process(run_dir: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    """Run the command in a separate process; return status, stdout and stderr."""
    with start_process(run_dir, *arguments, **more) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err
