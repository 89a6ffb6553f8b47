# SPDX-License-Identifier: Apache-2.0
"""A monitor process that runs another's code, as seen by main."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from typing import TYPE_CHECKING

import pytest

from orchestrator.monitor.client.child_process import ChildProcess
from orchestrator.monitor.client.error_lines import (
    MAX_LINE_BYTES,
    MAX_LINES,
    PERIOD_S,
    ErrorLines,
)
from orchestrator.monitor.client.restart_pause import (
    FIRST_S,
    LONGEST_S,
    STABLE_AFTER_S,
    RestartPause,
)
from orchestrator.monitor.link.reports import GroupYielded, Ready
from tests.monitor.monitor_harness import TIMEOUT_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.monitor.link.messages import Message

PROLOGUE = """
import array, contextlib, socket, sys, time
main = socket.socket(fileno=int(sys.argv[1]))
def send(data, fds=()):
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
    main.sendmsg([data], [rights] if fds else [])
READY = b'["Ready",[1]]'
"""


class Child:
    """A process with a program of the test, and what main received from it."""

    def __init__(self, directory: Path, program: str) -> None:
        path = directory / "program.py"
        path.write_text(PROLOGUE + program)
        self.received: list[Message] = []
        self.statuses: list[int] = []
        self.process = ChildProcess(
            self.received.append, self.statuses.append, program=path
        )


def run(directory: Path, program: str) -> Child:
    """Run a program until its process has ended."""

    async def until_ended() -> Child:
        child = Child(directory, program)
        child.process.spawn()
        try:
            await until(lambda: child.statuses != [], "the end of the process")
        finally:
            await child.process.kill()
        return child

    return asyncio.run(until_ended())


def open_files() -> list[str]:
    gc.collect()  # what earlier tests left open
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths


ENDLESS = "\nwith contextlib.suppress(OSError):\n    while True: {}\ntime.sleep(60)\n"


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("b''", "invalid message: b''"),
        ("b'junk'", "invalid message: b'junk'"),
        ("b'[' * 100_000", "invalid message: b'[["),
        ("READY, [0, 1, 2] * 60", "invalid message: it carries descriptors"),
        ("b'junk', [0, 1, 2] * 60", "invalid message: it carries descriptors"),
    ],
)
def test_a_process_that_sends_what_no_monitor_sends_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, message: str, complaint: str
) -> None:
    before = open_files()
    child = run(tmp_path, "send(READY)" + ENDLESS.format(f"send({message})"))
    assert child.received == [Ready(1)]
    assert child.statuses == [-signal.SIGKILL]
    assert open_files() == before
    (line,) = caplog.messages
    assert line.startswith(f"killing the monitor process: {complaint}")
    assert len(line) < 1_000


def test_valid_messages_of_a_process_that_ends_are_received_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = "for n in range(100): send(b'[\"GroupYielded\",[%d]]' % n)\nsys.exit(3)"
    child = run(tmp_path, program)
    assert child.received == [GroupYielded(n) for n in range(100)]
    assert child.statuses == [3]
    assert caplog.messages == []


def test_a_process_that_only_ends_its_messages_is_killed(tmp_path: Path) -> None:
    # If main closed its end, the monitor would restore, beside its successor.
    program = "main.shutdown(socket.SHUT_WR)\ntime.sleep(60)"
    assert run(tmp_path, program).statuses == [-signal.SIGKILL]


def test_the_standard_error_is_logged_line_by_line_with_a_mark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, "sys.stderr.write('one\\n\\ntwo\\n' + 'x' * 5_000 + '\\nend')")
    *short, long, end = caplog.messages
    assert short == ["monitor: one", "monitor: two"]
    assert long == f"monitor: {'x' * MAX_LINE_BYTES}..."
    assert end == "monitor: end"
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_flood_of_standard_error_is_read_and_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = "for n in range(100_000): sys.stderr.write('flood %d\\n' % n)"
    assert run(tmp_path, program).statuses == [0]
    assert len(caplog.messages) == MAX_LINES + 1
    assert caplog.messages[-1] == f"monitor: {100_000 - MAX_LINES} more lines dropped"


def test_lines_are_logged_again_in_the_next_period(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = ErrorLines()
    lines.feed(b"early\n" * (MAX_LINES + 2), 0.0)
    lines.feed(b"late", PERIOD_S)
    lines.feed(b"r\xff\n", PERIOD_S)
    assert caplog.messages[-2:] == [
        "monitor: 2 more lines dropped",
        "monitor: later\\xff",
    ]
    lines.close(PERIOD_S)
    assert len(caplog.messages) == MAX_LINES + 2


def test_a_line_without_an_end_uses_little_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = ErrorLines()
    for _ in range(1_000):
        lines.feed(b"x" * 1_000, 0.0)
    assert len(lines._rest) == MAX_LINE_BYTES
    assert len(caplog.messages) == 1


def test_only_repeated_early_deaths_delay_the_next_start() -> None:
    pause = RestartPause()
    assert pause.seconds == 0
    pause.count(0.0)
    assert pause.seconds == 0
    seconds = []
    for _ in range(20):
        pause.count(STABLE_AFTER_S / 2)
        seconds.append(pause.seconds)
    assert seconds[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert seconds[-1] == LONGEST_S
    pause.count(STABLE_AFTER_S)
    assert pause.seconds == 0


def test_a_killed_process_is_waited_for(tmp_path: Path) -> None:
    async def killed() -> Child:
        child = Child(tmp_path, "send(READY)\ntime.sleep(60)")
        child.process.spawn()
        await until(lambda: child.received != [], "its first message")
        await asyncio.wait_for(child.process.kill(), TIMEOUT_S)
        return child

    assert asyncio.run(killed()).statuses == [-signal.SIGKILL]
