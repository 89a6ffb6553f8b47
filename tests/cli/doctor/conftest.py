"""How the doctor's tests ask it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from tests.cli.doctor.machines import MACHINES, lay_out_machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """A machine on disk with which nothing is wrong."""
    return lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])


def doctor(*arguments: object, before: tuple[object, ...] = ()) -> dict[str, Any]:
    """Run it with -o json and return the document, with its exit status."""
    words = [*map(str, before), "doctor", *map(str, arguments), "-o", "json"]
    told = CliRunner().invoke(app, words)
    assert told.stderr == "", told.stderr
    return {**json.loads(told.stdout), "exit_status": told.exit_code}


def examine(root: Path) -> tuple[int, dict[str, Any]]:
    """Examine the copy of a machine."""
    document = doctor("--root", root)
    return document.pop("exit_status"), document


def found(root: Path) -> dict[str, dict[str, Any]]:
    """Examine the copy of a machine; return findings by their check."""
    return {item["id"]: item for item in examine(root)[1]["findings"]}
