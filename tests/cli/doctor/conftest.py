# SPDX-License-Identifier: Apache-2.0
"""Runs `vmpower doctor` and reads its findings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.app import app
from tests.cli.commands import new_runner
from tests.cli.doctor.machines import MACHINES, lay_out_machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """The files of a machine without findings."""
    return lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])


def doctor(*arguments: object, before: tuple[object, ...] = ()) -> dict[str, Any]:
    """Run it with -o json; return the document and the exit status."""
    words = [*map(str, before), "doctor", *map(str, arguments), "-o", "json"]
    result = new_runner().invoke(app, words)
    assert result.stderr == "", result.stderr
    return {**json.loads(result.stdout), "exit_status": result.exit_code}


def examine(root: Path) -> tuple[int, dict[str, Any]]:
    """Check the files of a machine; return exit status and document."""
    document = doctor("--root", root)
    return document.pop("exit_status"), document


def found(root: Path) -> dict[str, dict[str, Any]]:
    """Check the files of a machine; return the findings by check."""
    return {item["id"]: item for item in examine(root)[1]["findings"]}
