# SPDX-License-Identifier: Apache-2.0
"""Messages in the journal's own protocol."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from orchestrator.system.journal import FIELDS, JournalSink, is_connected_to
from orchestrator.system.log_output import LogOutput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 60.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket in the place of the journal's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(DEADLINE_S)
        yield sock


def test_a_message_has_its_priority_and_fields(
    tmp_path: Path, journal: socket.socket
) -> None:
    sink = JournalSink(2, path=str(tmp_path / "socket"))
    output = LogOutput(sink)
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "n=%d", (3,), None)
    setattr(record, FIELDS, {"DOMAIN": "fw", "CHANNEL": 0})
    output.handle(record)
    lines = journal.recv(4_096).decode().splitlines()
    output.close()
    sink.close()
    assert lines == [
        "MESSAGE=n=3",
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=vmpowerd",
        "DOMAIN=fw",
        "CHANNEL=0",
    ]


def test_a_value_with_several_lines_forges_no_field(
    tmp_path: Path, journal: socket.socket
) -> None:
    with closing(JournalSink(2, path=str(tmp_path / "socket"))) as sink:
        sink.write([sink.encode("a\nUUID=x", logging.INFO, {})])
    length = (8).to_bytes(8, "little")
    assert journal.recv(4_096).startswith(b"MESSAGE\n" + length + b"a\nUUID=x\nPRIO")


@pytest.mark.parametrize("text", ["one", "two\nlines"])
def test_without_the_journal_the_text_goes_to_the_descriptor(
    tmp_path: Path, text: str
) -> None:
    reader, writer = os.pipe()
    with closing(JournalSink(writer, path=str(tmp_path / "missing"))) as sink:
        sink.write([sink.encode(text, logging.INFO, {"DOMAIN": "fw"})])
    os.close(writer)
    assert os.read(reader, 4_096).decode() == f"{text}\n"
    os.close(reader)


def test_only_the_stream_that_systemd_names_is_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    found = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    assert is_connected_to(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
    assert not is_connected_to(writer)
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not is_connected_to(writer)
    os.close(reader)
    os.close(writer)
