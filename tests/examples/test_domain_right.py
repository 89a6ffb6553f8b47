# SPDX-License-Identifier: Apache-2.0
"""A right is added as CONTRIBUTING.md shows it, to a copy of the product."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCH = ROOT / "examples/contributing/domain_right.patch"
NEEDED = ("orchestrator", "cli", "domain_templates", "scripts", "tests", "examples")
CHECKS = "tests/examples/patched_checks.py"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    leave_out = shutil.ignore_patterns("__pycache__", "images")
    for name in NEEDED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=leave_out)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def run_checks(copy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", CHECKS],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_right_is_a_change_of_a_few_files(copy: Path) -> None:
    text = PATCH.read_text(encoding="utf-8")
    files = re.findall(r"^\+\+\+ b/(\S+)", text, re.MULTILINE)
    assert len(files) <= 6
    subprocess.run(
        ["patch", "--strip=1", "--fuzz=0", "--quiet"],
        cwd=copy,
        input=text,
        text=True,
        check=True,
    )
    result = run_checks(copy)
    assert (result.returncode, "6 passed" in result.stdout) == (0, True), result.stdout
