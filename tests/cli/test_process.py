# SPDX-License-Identifier: Apache-2.0
"""The command in a separate process: terminals, signals, imports."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cli.framework.failures import ExitStatus, status_of
from orchestrator.control.client import AccessDenied, DaemonUnreachable
from orchestrator.errors import ControlError, JournalError, SysfsError, VmpowerError
from tests.cli.conftest import ROOT, environment, run_process, start_process

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("pydantic", "aiohttp", "asyncio", "libvirt", "lxml", "rich")


def test_status_imports_nothing_heavy(run_dir: Path) -> None:
    program = (
        "import sys\n"
        "import typer\n"  # before 0.17, typer itself imports rich
        "typers = set(sys.modules)\n"
        "from cli.__main__ import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print([name for name in {HEAVY!r} "
        "if name in sys.modules.keys() - typers])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "status"],
        cwd=ROOT,
        env=environment(run_dir),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "dpdk-fw" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_pipe_gets_a_plain_table(run_dir: Path) -> None:
    status, out, err = run_process(run_dir, "status")
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    assert "━" not in out


def in_terminal(run_dir: Path, *arguments: str, **more: str) -> str:
    """Run the command on a new terminal; return what it draws there."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=environment(run_dir, TERM="xterm-256color", COLUMNS="100") | more,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        drawn = b""
        try:
            while data := os.read(ours, 65_536):
                drawn += data
        except OSError as error:  # EIO: the other end is closed
            if error.errno != errno.EIO:
                raise
        finally:
            os.close(ours)
        assert process.wait(60) == 0
    return drawn.decode()


def test_a_terminal_gets_a_drawn_table(run_dir: Path) -> None:
    drawn = in_terminal(run_dir, "status")
    assert "━" in drawn
    assert "\x1b[36m" in drawn


def test_no_color_removes_colors_and_keeps_the_table(run_dir: Path) -> None:
    drawn = in_terminal(run_dir, "status", NO_COLOR="1")
    assert "━" in drawn
    assert "\x1b[36m" not in drawn


def test_output_plain_is_plain_on_a_terminal(run_dir: Path) -> None:
    assert "━" not in in_terminal(run_dir, "--plain", "status")


def test_a_dumb_terminal_gets_a_plain_table(run_dir: Path) -> None:
    assert "\x1b" not in in_terminal(run_dir, "status", TERM="dumb")


def test_output_table_is_drawn_into_a_pipe(run_dir: Path) -> None:
    _, out, _ = run_process(run_dir, "status", FORCE_COLOR="1")
    assert "━" in out


def test_events_as_json_are_one_per_line(run_dir: Path) -> None:
    _, out, _ = run_process(run_dir, "events", "-o", "json")
    texts = [json.loads(line)["text"] for line in out.splitlines()]
    assert texts == ["dpdk-fw is running", "channel 0 is open"]


def test_events_are_followed_until_ctrl_c_exits_with_130(
    run_dir: Path,
) -> None:
    with start_process(run_dir, "events", "--follow") as process:
        assert process.stdout is not None
        assert "channel 0 is open" in [process.stdout.readline() for _ in range(2)][1]
        run_process(run_dir, "cpu", "set", "2", "2GHz")
        assert "clock group 2 set to" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


def test_a_closed_pipe_is_not_an_error(run_dir: Path) -> None:
    with start_process(run_dir, "events", "--follow") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        while process.poll() is None:
            run_process(run_dir, "cpu", "set", "2", "2GHz")
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (VmpowerError("?"), ExitStatus.FAILED),
        (ControlError("busy", status=409), ExitStatus.FAILED),
        (ControlError("only reads", status=403), ExitStatus.DENIED),
        (AccessDenied("no"), ExitStatus.DENIED),
        (DaemonUnreachable("gone"), ExitStatus.UNREACHABLE),
        (SysfsError("/sys/x", errno.EACCES, "write"), ExitStatus.DENIED),
        (SysfsError("/sys/x", errno.EBUSY, "write"), ExitStatus.FAILED),
    ],
)
def test_every_error_has_its_exit_status(
    error: VmpowerError, status: ExitStatus
) -> None:
    assert status_of(error) is status


def test_an_unreadable_journal_is_permission_denied() -> None:
    error = JournalError("cannot read it")
    error.__cause__ = PermissionError(errno.EACCES, "no")
    assert status_of(error) is ExitStatus.DENIED
