# SPDX-License-Identifier: Apache-2.0
"""Streams of packets: whole, cut anywhere, and garbage."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    Answer,
    Command,
    Request,
    Unit,
    decode_all,
    encode,
    encode_answer,
)
from orchestrator.monitor.process.exchange import IDLE_NS
from tests.monitor.in_process_monitor import SIZE, InProcessMonitor, ack, receive
from tests.properties import examples

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
VECTORS = Path(__file__).parents[1] / "data" / "packet-vectors.txt"


def test_every_vector_of_the_current_generation_gets_the_expected_answer(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(groups=(0,) * 6)
    guest = monitor.adopt()
    acked = []
    for line in VECTORS.read_text().splitlines():
        name, _, text = line.split()
        packet = bytes.fromhex(text)
        if name.startswith(("G3.", "G4.CPU", "G4.CONN", "G4.PKT")):
            answer = monitor.request_with_main(guest, packet)
            if answer == encode_answer(packet, Answer.ACK):
                acked.append(name.split(".")[1])
            else:
                assert ("physical" in name) == (answer != b"")
    units = [f"CPU_POWER_{unit.name}_lcore3" for unit in Unit]
    kinds = ("TIME_guestcli_defaults", "TRAFFIC", "WORKLOAD_LOW", "BRANCH_RATIO")
    policies = [f"PKT_POLICY_{kind}" for kind in kinds]
    assert acked == (units + policies) * 2


many = st.lists(
    st.one_of(
        st.builds(
            Request,
            vcpu=st.integers(0, 3),
            unit=st.integers(0, 7),
            command=st.sampled_from([1, 1, 1, 1, 1, 2, 3]),
            core_type=st.sampled_from([0, 0, 0, 1]),
        ),
        st.sampled_from([Request(0, MAX), Request(0, MIN)]),
    ),
    min_size=1,
    max_size=12,
)


def _pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    return [stream[a:b] for a, b in pairwise(edges)]


def _play(pieces: list[bytes], *, has_plans: bool = True) -> tuple[object, ...]:
    """Return answers, votes, frequencies and counters of a new monitor."""
    with TemporaryDirectory() as name, InProcessMonitor(Path(name)) as monitor:
        for group in (0, 1):
            monitor.define_group(group)
            monitor.hand_over(group)
        monitor.define_domain(groups=(0, 1, 1, None))
        guest = monitor.adopt()
        answers = b""
        for piece in pieces:
            if not has_plans:
                for endpoint in monitor.epoll_set.endpoints.values():
                    endpoint.plans.clear()
            answers += monitor.request_with_main(guest, piece)
        votes = [monitor.vote(vcpu) for vcpu in range(4)]
        return (
            answers,
            votes,
            [monitor.frequency(0), monitor.frequency(1)],
            monitor.counts(),
        )


@pytest.mark.fuzz
@given(many, st.lists(st.integers(0, 12 * SIZE), max_size=8))
@settings(max_examples=examples(60), deadline=None)
def test_answers_and_votes_do_not_depend_on_how_the_stream_is_cut(
    sent: list[Request], cuts: list[int]
) -> None:
    packets = [encode(request) for request in sent]
    one_by_one = _play(packets)
    assert _play(_pieces(b"".join(packets), cuts)) == one_by_one
    assert _play([b"".join(packets)]) == one_by_one
    assert _play(packets, has_plans=False) == one_by_one
    assert len(list(decode_all(one_by_one[0]))) == sum(  # type: ignore[arg-type]
        request.command != Command.CONNECT for request in sent
    )


@pytest.mark.fuzz
@given(st.lists(st.binary(min_size=1, max_size=3 * SIZE), max_size=6))
@settings(max_examples=examples(60), deadline=None)
def test_no_bytes_close_a_channel_or_prevent_its_recovery(
    pieces: list[bytes],
) -> None:
    with TemporaryDirectory() as name, InProcessMonitor(Path(name)) as monitor:
        guest = monitor.simple()
        for piece in pieces:
            guest.sendall(piece)
            monitor.run_pass()
            receive(guest)
        monitor.now_ns += IDLE_NS
        assert monitor.request(guest, encode(Request(0, MIN))) == ack(0, MIN)
        assert monitor.reports == []


def test_a_packet_may_arrive_in_single_bytes(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    packet = encode(Request(0, MIN))
    answers = [monitor.request(guest, packet[i : i + 1]) for i in range(SIZE)]
    assert answers == [b""] * (SIZE - 1) + [packet]


def test_an_incomplete_packet_is_dropped_after_a_silence(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, b"\1" * 100)
    monitor.now_ns += IDLE_NS
    assert monitor.request(guest, encode(Request(0, MIN))) == ack(0, MIN)
    assert monitor.counts() == {"acks": 1, "errors": 1}


def test_one_guest_s_garbage_does_not_affect_another(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(groups=(0, 0))
    bad, good = monitor.adopt(number=0), monitor.adopt(number=1)
    bad.sendall(b"\xff" * 1_000)
    good.sendall(encode(Request(1, MIN)))
    monitor.run_pass()
    assert receive(good) == ack(1, MIN)
    assert receive(bad) == b""
    assert monitor.counts(number=1) == {"acks": 1}
