# SPDX-License-Identifier: Apache-2.0
"""The gate for the coverage of pure packages finds what is not covered."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from scripts.pure_coverage import ROOT, main, pure_files

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_each_pattern_means_files() -> None:
    patterns = pure_files()
    assert {"orchestrator/controller/*", "orchestrator/limits.py"} <= set(patterns)
    assert [pattern for pattern in patterns if not [*ROOT.glob(pattern)]] == []


def test_lines_that_nothing_ran_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, data = tmp_path / "program.py", tmp_path / "data"
    program.write_text("from orchestrator.values.units import parse_khz\n")
    command = [sys.executable, "-m", "coverage", "run", "--rcfile", os.devnull]
    options = ["--branch", "--source", "orchestrator.values", "--data-file", str(data)]
    names = {"PATH", "PYTHONDONTWRITEBYTECODE"} & os.environ.keys()
    subprocess.run(
        [*command, *options, str(program)],
        cwd=ROOT,
        env={**{name: os.environ[name] for name in names}, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert main(data) == 1
    assert "orchestrator/values/units.py" in capsys.readouterr().out
