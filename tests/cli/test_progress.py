# SPDX-License-Identifier: Apache-2.0
"""Progress of slow work: shown on a terminal after a delay, and erased."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

from tests.cli.conftest import ROOT

PROGRAM = """
import sys
from cli.output.progress import working
with working("starting 'fw'", delay_s={delay}):
    sys.stdin.readline()
print("started")
"""


def start(delay: float, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(delay=delay)],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def read_all(terminal: int) -> bytes:
    drawn = b""
    try:
        while data := os.read(terminal, 65_536):
            drawn += data
    except OSError as error:  # EIO: the other end is closed
        if error.errno != errno.EIO:
            raise
    return drawn


def test_progress_is_shown_on_a_terminal_and_then_erased() -> None:
    ours, theirs = os.openpty()
    with start(0.0, theirs) as process:
        os.close(theirs)
        drawn = b""
        while b"starting 'fw' ..." not in drawn:
            drawn += os.read(ours, 65_536)
        out, _ = process.communicate(b"go on\n", timeout=60)
        drawn += read_all(ours)
    os.close(ours)
    assert out == b"started\n"
    assert drawn.rstrip().endswith(b"\x1b[2K")  # the line is erased


def test_quick_work_shows_no_progress() -> None:
    ours, theirs = os.openpty()
    with start(3600.0, theirs) as process:
        os.close(theirs)
        out, _ = process.communicate(b"go on\n", timeout=60)
        assert (out, read_all(ours)) == (b"started\n", b"")
    os.close(ours)


def test_a_pipe_gets_no_progress() -> None:
    with start(0.0, subprocess.PIPE) as process:
        out, err = process.communicate(b"go on\n", timeout=60)
    assert (out, err) == (b"started\n", b"")
