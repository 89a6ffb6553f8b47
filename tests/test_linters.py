# SPDX-License-Identifier: Apache-2.0
"""The linters, run as tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

# Code that is copied into guests supports their Python versions.
GUEST_SIDE = [
    *("orchestrator/guest", "orchestrator/channel/protocol", "orchestrator/errors.py"),
    *("orchestrator/values/units.py", "orchestrator/values/quantities.py"),
    "orchestrator/values/safe_text.py",
    "orchestrator/__init__.py",
    "orchestrator/channel/__init__.py",
]

LINTERS = {
    "ruff-check": ["ruff", "check", "--quiet", "."],
    "ruff-format": ["ruff", "format", "--check", "--quiet", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports"],
    "codespell": ["codespell"],
    "vermin": ["vermin", "--quiet", "--target=3.9-", "--violations", *GUEST_SIDE],
}


@pytest.mark.parametrize("name", LINTERS)
def test_linter_finds_nothing(name: str) -> None:
    program, *arguments = LINTERS[name]
    done = subprocess.run(
        [str(BIN / program), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name} found:\n{done.stdout}{done.stderr}"


def test_every_source_file_names_its_license() -> None:
    license_line = "SPDX-License-Identifier: Apache-2.0"
    folders = ("orchestrator", "cli", "domain_templates", "examples", "scripts")
    files = [
        path
        for folder in (*folders, "bench", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".sh", ".c", ".h", ".asl", ".service")
    ]
    assert len(files) > 500
    unnamed = [
        str(path.relative_to(ROOT))
        for path in files
        if license_line not in path.read_text(encoding="utf-8")[:200]
    ]
    assert unnamed == []
