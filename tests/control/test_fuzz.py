# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends, it is answered or disconnected, and others are served."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import tempfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control import (
    BODY_LIMIT_BYTES,
    CONTROL_SOCKET,
    METRICS_PATH,
    OPENAPI_PATH,
    READ_ONLY_SOCKET,
)
from orchestrator.control.calls import CALLS
from orchestrator.control.client import ControlClient
from tests.control.fake_daemon import serving
from tests.mutations import mutated

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.fuzz

TIMEOUT_S = 60.0
READING, CONTROL = READ_ONLY_SOCKET, CONTROL_SOCKET


STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) ")
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")


class Target(NamedTuple):
    """A daemon, and what it has logged about defects."""

    run_dir: Path
    defects: list[str]

    def send(self, name: str, data: bytes) -> bytes:
        """Send bytes and no more; return all that is answered."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(str(self.run_dir / name))
            with suppress(ConnectionError):
                sock.sendall(data)
            return read_all(sock)

    def send_and_end(self, name: str, data: bytes) -> bytes:
        """Send bytes and close this side of the connection."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(str(self.run_dir / name))
            with suppress(OSError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    def check(self) -> None:
        """Check that others are served, and that no call has failed unexpectedly."""
        with ControlClient(self.run_dir / READING) as client:
            assert client.cpu(2)["pcpu"] == 2
        assert self.defects == []


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionError):
        while more := sock.recv(65_536):
            data += more
    return data


@contextmanager
def collected_defects() -> Iterator[list[str]]:
    """Collect messages that have a traceback, or are errors."""
    defects: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info or record.levelno >= logging.ERROR:
                defects.append(self.format(record))

    collector = Collector()
    logging.getLogger().addHandler(collector)
    try:
        yield defects
    finally:
        logging.getLogger().removeHandler(collector)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with (
        tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as name,
        collected_defects() as defects,
        serving(Path(name)),
    ):
        yield Target(Path(name), defects)


def check_answer(answer: bytes) -> int:
    """Check that the first answer is HTTP with a document; return its status."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    found = STATUS.match(head)
    assert found, answer
    status = int(found[1])
    assert status < 500, answer
    length = LENGTH.search(head)
    body = rest[: int(length[1])] if length else b""
    if status >= 400 and length and len(body) == int(length[1]):
        assert json.loads(body)["error"]["message"]
    return status


def chunked(body: bytes) -> bytes:
    middle = len(body) // 2
    parts = [part for part in (body[:middle], body[middle:]) if part]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


words = st.text(min_size=1, max_size=20) | st.sampled_from(
    ["0", "2", "99999999999", "dpdk-fw", "..", "%00", "%ff", "a%2Fb", "-1", "true"]
)
paths = st.one_of(
    st.sampled_from(
        [call.path for call in CALLS] + [OPENAPI_PATH, METRICS_PATH, "/", "*", "//x"]
    ),
    words.map(lambda word: f"/v1/{word}"),
)
methods = st.sampled_from(
    ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW"]
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["khz", "enabled", "text", "cpu", "x"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 50_000, b"1" * 9_999, b" " * (BODY_LIMIT_BYTES + 1)]),
)
codings = st.sampled_from(
    [
        ("identity", lambda body: body),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("gzip", lambda body: body),
        ("br", lambda body: body),
        ("zstd", lambda body: b"\x28\xb5\x2f\xfd" + body),
        ("gzip, deflate", lambda body: zlib.compress(gzip.compress(body))),
        ("x" * 4_000, lambda body: body),
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests that are complete, and valid HTTP."""
    path = draw(paths)
    for name in ("{domain}", "{name}", "{number}", "{pcpu}"):
        path = path.replace(name, draw(words))
    target = path.encode().translate(None, bytes(range(33)) + b"\x7f#?")
    query = draw(st.sampled_from(["", "?clocks=false", "?follow=x", "?a=b&a=c", "?%"]))
    lines = ["Host: x", "Connection: close"]
    body = draw(bodies)
    if draw(st.booleans()):
        coding, encode = draw(codings)
        lines.append(f"Content-Encoding: {coding}")
        body = encode(body)
    if draw(st.booleans()):
        lines.append(f"Content-Length: {len(body)}")
    else:
        lines.append("Transfer-Encoding: chunked")
        body = chunked(body)
    if draw(st.booleans()):
        lines.append("Expect: 100-continue")
    head = "\r\n".join(lines).encode()
    method = draw(methods).encode()
    return (
        method
        + b" "
        + target
        + query.encode()
        + b" HTTP/1.1\r\n"
        + head
        + (b"\r\n\r\n" + body)
    )


@given(request=requests(), name=st.sampled_from([READING, CONTROL]))
def test_a_complete_request_is_answered(
    target: Target, request: bytes, name: str
) -> None:
    answer = target.send(name, request)
    if answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    check_answer(answer)
    target.check()


SAMPLES = (
    "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /v1/events?clocks=false HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
    (
        "PUT /v1/cpus/2/clock HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n"
        '{"khz": 12345}'
    ),
    (
        "POST /v1/instructions HTTP/1.1\r\nHost: x\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
        '7\r\n{"text"\r\n5\r\n: ""}\r\n0\r\nTrailer: x\r\n\r\n'
    ),
    (
        "DELETE /v1/cpus/2/clock HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
        "Content-Length: 3\r\n\r\n\x1f\x8b\x08"
    ),
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
)
PIECES = ("\r\n", "\0", ": ", "\x1f\x8b", "Content-Length: 5\r\n", "chunked", "\xff")
damaged = mutated(SAMPLES, PIECES).map(lambda text: text.encode("latin-1", "replace"))


@given(st.lists(damaged | st.binary(max_size=500), max_size=5))
def test_anything_else_ends_with_its_connection(
    target: Target, pieces: list[bytes]
) -> None:
    for name in (READING, CONTROL):
        answer = target.send_and_end(name, b"".join(pieces))
        if answer:
            check_answer(answer)
    target.check()
