# SPDX-License-Identifier: Apache-2.0
"""The share of the monitor's time that one guest may use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.recognition import MAX_PACKETS
from orchestrator.monitor.process.share import (
    CREDIT_NS,
    MAX_PAUSE_NS,
    PARTS,
    TURN_NS,
    TimeShare,
)

SECOND_NS = 1_000_000_000


def test_long_turns_make_the_next_ones_smaller_and_short_ones_larger() -> None:
    share = TimeShare()
    sizes = []
    for took_ns in [TURN_NS + 1] * 6 + [TURN_NS] + [TURN_NS // 2 - 1] * 6:
        share.charge(took_ns, SECOND_NS)
        sizes.append(share.max_packets)
    assert sizes == [16, 8, 4, 2, 2, 2, 2, 4, 8, 16, 32, 32, MAX_PACKETS]


def test_a_guest_that_needs_little_time_is_never_paused() -> None:
    share, now_ns = TimeShare(), SECOND_NS
    for _ in range(1_000):
        now_ns += TURN_NS * PARTS
        assert share.charge(TURN_NS, now_ns) == 0


def test_one_long_turn_causes_a_short_pause() -> None:
    share = TimeShare()
    assert share.charge(SECOND_NS, SECOND_NS) == SECOND_NS + MAX_PAUSE_NS
    assert share.charge(1, SECOND_NS + MAX_PAUSE_NS) == 0


@given(st.lists(st.integers(1, MAX_PAUSE_NS // PARTS - CREDIT_NS // PARTS)))
def test_a_guest_that_never_stops_gets_its_share_of_the_time(
    turns_ns: list[int],
) -> None:
    share, now_ns = TimeShare(), SECOND_NS
    for took_ns in turns_ns:
        now_ns += took_ns
        now_ns = max(now_ns, share.charge(took_ns, now_ns))
    passed_ns = now_ns - SECOND_NS
    assert sum(turns_ns) <= passed_ns / PARTS + CREDIT_NS / PARTS
