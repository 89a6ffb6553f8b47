# SPDX-License-Identifier: Apache-2.0
"""A stream of which nothing is known."""

from __future__ import annotations

import pytest

from orchestrator.channel.protocol import Request, Unit, encode
from orchestrator.channel.recognition import Stream


def test_nothing_is_cut_out_before_the_generation_is_known() -> None:
    stream = Stream()
    assert stream.feed(b"\xff" * 7).packets == b""
    assert stream.rest == b"\xff" * 7
    with pytest.raises(ValueError, match="generation"):
        stream._split(b"\xff" * 464)


def test_a_second_header_with_an_impossible_unit_does_not_confirm_a_stride() -> None:
    packet = encode(Request(0, Unit.SCALE_UP))
    odd = bytearray(packet)
    odd[8:12] = (1 << 20).to_bytes(4, "little")
    stream = Stream()
    assert stream.feed(packet[:460] + bytes(odd)).packets == b""
    assert stream.generation is None
