# SPDX-License-Identifier: Apache-2.0
"""Log messages never delay the program that writes them."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.system.log_output import LineSink, LogOutput

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

CAPACITY_BYTES = 4_096
NOTICE = re.compile(r"WARNING log messages dropped count=(\d+)")
PIPE_BYTES = 4_096  # the smallest; fcntl(2), F_SETPIPE_SZ


@contextmanager
def output_to_a_pipe() -> Iterator[tuple[LogOutput, int]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    output = LogOutput(LineSink(writer), capacity_bytes=CAPACITY_BYTES)
    try:
        yield output, reader
    finally:
        os.close(reader)
        output.flush()  # fails with EPIPE, so that the thread is free
        output.close()
        os.close(writer)


def read_lines(reader: int, last: str) -> list[str]:
    data = b""
    while not data.endswith(last.encode() + b"\n"):
        data += os.read(reader, 65_536)
    return data.decode().splitlines()


def fill(output: LogOutput, count: int) -> None:
    for number in range(count):
        output.write(f"line {number:04}")


def test_messages_arrive_formatted_and_in_order() -> None:
    with output_to_a_pipe() as (output, reader):
        output.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        for number in range(20):
            arguments = (number, "\udcff")
            record = logging.LogRecord(
                "x", logging.INFO, "f", 1, "n=%d %s", arguments, None
            )
            output.handle(record)
        lines = read_lines(reader, "n=19 \\udcff")
    assert lines == [f"INFO n={n} \\udcff" for n in range(20)]


def test_a_full_pipe_blocks_no_caller_and_a_notice_counts_what_is_missing() -> None:
    with output_to_a_pipe() as (output, reader):
        fill(output, 2_000)  # would block for ever
        output.flush()  # returns
        expected = 0
        for line in read_until_counted(reader, 2_000):
            if match := NOTICE.fullmatch(line):
                expected += int(match[1])
            else:
                assert line == f"line {expected:04}"
                expected += 1
        assert expected == 2_000
        output.write("later")
        assert read_lines(reader, "later") == ["later"]


def read_until_counted(reader: int, count: int) -> list[str]:
    """Read lines until they and those reported as dropped are that many."""
    data, lines = "", list[str]()
    while count > 0:
        data += os.read(reader, 65_536).decode()
        *new, data = data.split("\n")
        for line in new:
            match = NOTICE.fullmatch(line)
            count -= int(match[1]) if match else 1
        lines += new
    assert any(map(NOTICE.fullmatch, lines)), "nothing was dropped"
    return lines


def test_a_pipe_without_reader_loses_lines_and_nothing_else() -> None:
    with output_to_a_pipe() as (output, reader):
        with Path(os.devnull).open("rb") as other:
            os.dup2(other.fileno(), reader)
        fill(output, 2_000)
        output.flush()
        assert output._kept_bytes == 0


def test_a_pipe_that_was_made_non_blocking_loses_nothing() -> None:
    with output_to_a_pipe() as (output, reader):
        assert isinstance(output._sink, LineSink)
        os.set_blocking(output._sink._fd, False)
        fill(output, 2_000)
        assert len(read_until_counted(reader, 2_000)) > PIPE_BYTES // 10


def test_a_message_with_wrong_arguments_is_reported_and_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with output_to_a_pipe() as (output, reader):
        output.handle(logging.LogRecord("x", 30, "f", 1, "%d", ("text",), None))
        output.write("next")
        assert read_lines(reader, "next") == ["next"]
    assert "Logging error" in capsys.readouterr().err
