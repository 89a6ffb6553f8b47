# SPDX-License-Identifier: Apache-2.0
"""Decoding of terminal input."""

from __future__ import annotations

import pytest

from cli.output.keys import Special, decode_keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b", [Special.ESCAPE]),
        (b"\x1b[A\x1b[B", [Special.UP, Special.DOWN]),
        (b"\x1bOA", [Special.UP]),
        (b"\x1b[5~x\x1b[6~", [Special.PAGE_UP, "x", Special.PAGE_DOWN]),
        (b"\x1b[H\x1b[F\x1b[1~\x1b[4~", [Special.HOME, Special.END] * 2),
        (b"\r\n", [Special.ENTER, Special.ENTER]),
        (b"\x7f", [Special.BACKSPACE]),
        ("ä虚".encode(), ["ä", "虚"]),
        (b"\x1b[1;5Cq", [Special.UNKNOWN, "q"]),
        (b"\x1b[200~", [Special.UNKNOWN]),
        (b"\x01\x02", []),
        (b"\xff\xfeq", ["q"]),
        (b"\x1bq", [Special.ESCAPE, "q"]),
        (b"", []),
    ],
)
def test_input_bytes_are_decoded_to_keys(data: bytes, keys: list[str]) -> None:
    assert decode_keys(data) == keys


def test_any_input_bytes_are_decoded() -> None:
    for first in range(256):
        for second in (0x1B, 0x4F, 0x5B, 0x7E, 0x80):
            data = bytes([0x1B, second, first])
            assert all(isinstance(key, str) for key in decode_keys(data))
