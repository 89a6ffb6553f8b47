# SPDX-License-Identifier: Apache-2.0
"""Tests with guests run beside the others, with one exit status, also under load."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.busy_loops import busy_loops
from scripts.run_tests import (
    BUSY_LOOPS,
    STRESSED_WORKERS,
    combine_coverage,
    run_parts,
)
from tests.reliability.programs import is_running, wait_for_end

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
PROJECT = """
[tool.pytest.ini_options]
markers = ["rig: as in this project", "lab: as in this project"]
[tool.coverage.run]
source = ["code_of_both"]
data_file = "${VMPOWER_COVERAGE_FILE-data}"
[tool.coverage.report]
fail_under = 100
"""
CODE = """
def of_pure():
    return 1


def of_rig():
    return 2
"""
PURE = """
from pathlib import Path
from code_of_both import of_pure
from tests.rig.waiting import wait_for

def test_it():
    Path("pure").touch()
    wait_for(Path("rig").exists, "the other part")
    print("printed by pure")
    assert {} == of_pure()
"""
RIG = """
from pathlib import Path
import pytest
from code_of_both import of_rig
from tests.rig.waiting import wait_for

@pytest.mark.rig
def test_it():
    Path("rig").touch()
    wait_for(Path("pure").exists, "the part beside it")
    wait_for(Path("lab").exists, "the part that follows that")
    print("printed by rig")
    assert {} == of_rig()
"""
LAB = """
from pathlib import Path
import pytest

@pytest.mark.lab
@pytest.mark.rig
def test_it():
    Path("lab").touch()
"""
COUNT_BUSY_LOOPS = """
import os
from pathlib import Path

def test_it():
    texts = [p.read_text() for p in Path("/proc").glob("[0-9]*/stat")]
    parents = [int(text.rpartition(")")[2].split()[1]) for text in texts]
    assert parents.count(os.getppid()) == 1 + {loops}
    assert os.environ["PYTEST_XDIST_AUTO_NUM_WORKERS"] == "{workers}"
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "code_of_both.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    for name in (
        *("COVERAGE_PROCESS_CONFIG", "VMPOWER_COVERAGE_FILE"),
        "PYTEST_XDIST_AUTO_NUM_WORKERS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{CHECKOUT}")


def run(tmp_path: Path, pure: int, rig: int) -> int:
    (tmp_path / "test_pure.py").write_text(PURE.format(pure))
    (tmp_path / "test_rig.py").write_text(RIG.format(rig))
    (tmp_path / "test_lab.py").write_text(LAB)
    return run_parts(tmp_path)


def test_parts_run_side_by_side_and_what_they_cover_is_combined(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, 1, 2) == 0
    printed = capfd.readouterr().out
    assert len(re.findall(r" 1 passed(, 2 deselected)? in ", printed)) == 3
    assert printed.endswith(
        "tests without guests: passed\ntests with guests: passed\n"
        "tests in labs: passed\n"
    )
    assert combine_coverage(tmp_path) == 0
    assert "100" in capfd.readouterr().out


def test_coverage_that_cannot_be_combined_is_an_error(tmp_path: Path) -> None:
    assert combine_coverage(tmp_path) != 0


@pytest.mark.parametrize(("pure", "rig"), [(0, 2), (1, 0)])
def test_a_failure_of_either_is_the_exit_status(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], pure: int, rig: int
) -> None:
    assert run(tmp_path, pure, rig) == 1
    printed = capfd.readouterr().out
    assert ("printed by pure" in printed) is (pure != 1)
    assert ("printed by rig" in printed) is (rig != 2)
    # Not mixed: one report ends before the other begins.
    first, second, _labs = printed.split("= test session starts =")[1:]
    failed, passed = (first, second) if pure != 1 else (second, first)
    assert (" 1 failed" in failed, " 1 passed" in passed) == (True, True)
    assert "test_rig.py" not in first
    assert "test_pure.py" not in second


def test_arguments_are_those_of_pytest_also_beside_busy_loops(tmp_path: Path) -> None:
    test = COUNT_BUSY_LOOPS.format(loops=BUSY_LOOPS, workers=STRESSED_WORKERS)
    (tmp_path / "test_load.py").write_text(test)
    command = [sys.executable, "-m", "scripts.run_tests", "--stressed", "-q"]
    done = subprocess.run(
        [*command, "test_load.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith(".")


def test_busy_loops_end() -> None:
    with busy_loops(2) as loops:
        assert len(loops) == 2
        assert all(map(is_running, loops))
    assert not any(map(is_running, loops))


def test_busy_loops_end_with_a_process_that_is_killed() -> None:
    program = (
        "import sys\n"
        "from scripts.busy_loops import busy_loops\n"
        "with busy_loops(2) as loops:\n"
        "    print(*loops, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
    ) as parent:
        assert parent.stdout is not None
        loops = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(is_running, loops))
        parent.kill()
    for pid in loops:
        wait_for_end(pid)
