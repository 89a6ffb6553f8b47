# SPDX-License-Identifier: Apache-2.0
"""A proposed pinning: confirmed on a terminal, and without CPUs of bound programs."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from cli.commands.cpu_occupancy import read_host
from orchestrator.hypervisor.operator import OperatorConnection
from orchestrator.power.simulated import lay_out
from orchestrator.values.domain import PCpu
from tests.cli.conftest import ROOT, environment

BOUND = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
print(flush=True)
sys.stdin.read()
"""


def answer(word: str, tmp_path: Path, *options: str) -> tuple[int, str, str]:
    """Answer the question of `domain add`; return status, stdout and the terminal."""
    lay_out(tmp_path / "sys", cpus=4)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "cli", "-c", "test:///default"),
            *("domain", "add", "typed", "--define", "--vcpus", "2", *options),
            *("--sysfs-root", str(tmp_path / "sys")),
        ],
        cwd=ROOT,
        env=environment(tmp_path),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(ours, f"{word}\n".encode())
        assert process.stdout is not None
        out = process.stdout.read()
    with open(ours, "rb", buffering=0, closefd=True) as terminal:  # noqa: PTH123
        shown = b""
        try:
            while chunk := terminal.read(4096):
                shown += chunk
        except OSError:
            pass  # EIO: the other end is closed
    return process.returncode, out, shown.decode()


def test_a_confirmed_pinning_is_defined(tmp_path: Path) -> None:
    status, out, shown = answer("y", tmp_path)
    assert status == 0
    assert out.startswith("Domain 'typed' defined (")
    assert "proposed pinning: vCPUs 0-1 to CPUs 1,2" in shown
    assert "Use this pinning? [y/N]" in shown


@pytest.mark.parametrize("word", ["n", ""])
def test_a_declined_pinning_is_not_defined(tmp_path: Path, word: str) -> None:
    status, out, shown = answer(word, tmp_path)
    assert (status, out) == (1, "")
    assert "aborted" in shown


def test_yes_defines_the_pinning_without_a_question(tmp_path: Path) -> None:
    status, _, shown = answer("", tmp_path, "--yes")
    assert status == 0
    assert "Use this pinning?" not in shown


def test_a_cpu_with_a_bound_program_is_not_free() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    with subprocess.Popen(
        [sys.executable, "-c", BOUND, str(cpus[-1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        with OperatorConnection("test:///default") as connection:
            host = read_host(connection, Path("/sys"))
    assert PCpu(cpus[-1]) in host.taken
