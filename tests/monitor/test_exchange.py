from __future__ import annotations

import contextlib
import socket
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
    encode_connect,
)
from orchestrator.channel.recognition import MOST_PACKETS
from orchestrator.monitor import messages
from orchestrator.monitor.answers import LATE_NS, MAX_WAITING
from orchestrator.monitor.exchange import IDLE_NS
from orchestrator.monitor.loop import LONG_PASS_NS
from tests.monitor.workbench import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SIZE,
    TURBO,
    Workbench,
    receive,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
VECTORS = Path(__file__).parents[1] / "data" / "packet-vectors.txt"


def _ack(vcpu: int, unit: int) -> bytes:
    return encode_answer(encode(Request(vcpu, unit)), Answer.ACK)


def _nack(vcpu: int, unit: int, core_type: int = 0) -> bytes:
    packet = encode(Request(vcpu, unit, core_type=core_type))
    return encode_answer(packet, Answer.NACK)


# One request


def test_a_request_changes_the_clock_and_is_acknowledged(bench: Workbench) -> None:
    guest = bench.simple()
    assert bench.ask(guest, encode(Request(0, MIN))) == _ack(0, MIN)
    assert (bench.clock(), bench.grant(), bench.vote()) == (LOWEST, LOWEST, LOWEST)
    assert bench.counts() == {"acks": 1}


def test_the_calls_of_dpdk_s_test_suite_set_the_clocks_of_its_turbo_rules(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode_connect())
    clocks = []
    for unit in (ENABLE, DISABLE, UP, DOWN, MIN, MAX):
        assert bench.ask(guest, encode(Request(0, unit))) == _ack(0, unit)
        clocks.append(bench.clock())
    assert clocks == [TURBO, NOMINAL, NOMINAL, MIDDLE, LOWEST, NOMINAL]
    assert bench.counts() == {"acks": 6}


def test_a_clock_is_written_only_if_it_changes(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.path().write_text("untouched\n")
    for _ in range(2):
        bench.ask(guest, encode(Request(0, MIN)))
    assert bench.path().read_text() == "untouched\n"
    assert bench.counts() == {"acks": 3}


def test_a_channel_may_ask_for_any_vcpu_of_its_domain(bench: Workbench) -> None:
    for group in (0, 1):
        bench.define_group(group)
        bench.hand_over(group)
    bench.define_domain(groups=(0, 1))
    guest = bench.adopt(number=0)
    assert bench.ask(guest, encode(Request(1, MIN))) == _ack(1, MIN)
    assert (bench.clock(0), bench.clock(1)) == (TURBO, LOWEST)


def test_a_neighbour_in_the_clock_group_is_not_slowed(bench: Workbench) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(0)
    bench.define_domain(1)
    first, second = bench.adopt(0), bench.adopt(1)
    assert bench.ask(first, encode(Request(0, MIN))) == _ack(0, MIN)
    assert bench.clock() == TURBO
    assert bench.ask(second, encode(Request(0, DOWN))) == _ack(0, DOWN)
    assert bench.clock() == NOMINAL
    bench.ask(second, encode(Request(0, MIN)))
    assert bench.clock() == LOWEST


@pytest.mark.parametrize(
    "request_",
    [
        Request(1, MIN),  # the domain has one vCPU
        Request(2**64 - 1, MAX),
        Request(0, 0),
        Request(0, 7),
        Request(0, 2**32 - 1),
        Request(0, MIN, core_type=1),
        Request(0, MIN, core_type=255),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(
    bench: Workbench, request_: Request
) -> None:
    guest = bench.simple()
    answer = bench.ask(guest, encode(request_))
    assert answer == encode_answer(encode(request_), Answer.NACK)
    assert bench.counts() == {"nacks": 1}
    assert bench.clock() == TURBO


def test_a_name_in_a_packet_is_not_identity(bench: Workbench) -> None:
    bench.define_group(0)
    bench.define_group(1)
    bench.hand_over(0)
    bench.hand_over(1)
    bench.define_domain(0, groups=(0,))
    bench.define_domain(1, groups=(1,))
    guest = bench.adopt(0)
    packet = bytearray(encode(Request(0, MIN)))
    packet[16:24] = b"domain-1"
    assert bench.ask(guest, bytes(packet)) == packet
    assert (bench.clock(0), bench.clock(1)) == (LOWEST, TURBO)


def test_an_answer_keeps_every_byte_that_the_guest_sent(bench: Workbench) -> None:
    guest = bench.simple()
    packet = bytearray(b"\xa5" * SIZE)
    packet[:16] = encode(Request(0, MIN))[:16]
    packet[444] = 0
    assert bench.ask(guest, bytes(packet)) == packet
    packet[8] = 9
    assert bench.ask(guest, bytes(packet)) == encode_answer(bytes(packet), Answer.NACK)


@pytest.mark.parametrize("command", [0, 5, 6, 11, 2**32 - 1])
def test_an_unknown_command_is_counted_and_not_answered(
    bench: Workbench, command: int
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    assert bench.ask(guest, encode(Request(0, MIN, command))) == b""
    assert bench.counts() == {"acks": 1, "errors": 1}
    assert bench.ask(guest, encode(Request(0, MIN))) == _ack(0, MIN)


# CONNECT


def test_connect_is_not_answered_and_votes_for_the_highest_step(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    assert bench.ask(guest, encode_connect()) == b""
    assert (bench.clock(), bench.vote()) == (TURBO, TURBO)
    assert bench.counts() == {"acks": 1}


@given(garbage=st.binary(min_size=SIZE, max_size=SIZE))
@settings(max_examples=30)
def test_nothing_of_connect_counts_but_its_command(garbage: bytes) -> None:
    packet = bytearray(garbage)
    packet[12:16] = bytes([Command.CONNECT, 0, 0, 0])
    with TemporaryDirectory() as name, Workbench(Path(name)) as bench:
        bench.define_group(0)
        bench.define_group(1)
        bench.define_domain(groups=(0, 1))
        assert bench.ask(bench.adopt(number=1), bytes(packet)) == b""
        assert bench.reports == [messages.TakeWanted(1)]
        assert bench.counts(number=1) == {}


def test_connect_gives_back_the_turbo_that_another_program_had_disabled(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, DISABLE)))
    bench.ask(guest, encode_connect())
    assert bench.clock() == TURBO


def test_connect_of_a_channel_without_a_vcpu_of_its_number_is_harmless(
    bench: Workbench,
) -> None:
    bench.simple()
    guest = bench.adopt(number=7)
    assert bench.ask(guest, encode_connect()) == b""
    assert bench.counts(number=7) == {}


# Refusals by circumstance


def test_an_observed_domain_is_refused_and_nothing_is_taken(bench: Workbench) -> None:
    bench.define_group()
    bench.define_domain(is_enforced=False)
    guest = bench.adopt()
    assert bench.ask(guest, encode_connect()) == b""
    assert bench.ask(guest, encode(Request(0, MIN))) == _nack(0, MIN)
    assert (bench.reports, bench.vote()) == ([], 0)


def test_a_floating_vcpu_is_refused(bench: Workbench) -> None:
    bench.define_domain(groups=(None,))
    assert bench.ask(bench.adopt(), encode(Request(0, MIN))) == _nack(0, MIN)


def test_a_group_that_the_operator_overrides_refuses_guests(bench: Workbench) -> None:
    guest = bench.simple()
    bench.define_group(override_khz=MIDDLE)
    assert bench.clock() == MIDDLE
    assert bench.ask(guest, encode(Request(0, MIN))) == _nack(0, MIN)
    assert bench.clock() == MIDDLE


def test_what_a_guest_asked_under_an_override_holds_when_it_is_released(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.define_group(override_khz=MIDDLE)
    bench.ask(guest, encode(Request(0, MIN)))
    bench.define_group()
    assert bench.clock() == LOWEST


def test_a_disabled_channel_is_refused_and_its_votes_end(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(messages.SwitchChannel(0, 0, False))  # noqa: FBT003 - a message
    assert (bench.clock(), bench.vote()) == (TURBO, 0)
    assert bench.ask(guest, encode(Request(0, MIN)) * 2) == _nack(0, MIN) * 2
    assert bench.ask(guest, encode_connect()) == b""
    bench.tell(messages.SwitchChannel(0, 0, True))  # noqa: FBT003 - a message
    assert bench.ask(guest, encode(Request(0, MIN))) == _ack(0, MIN)


def test_a_channel_that_is_adopted_disabled_is_refused(bench: Workbench) -> None:
    bench.simple()
    guest = bench.adopt(number=1, is_enabled=False)
    assert bench.ask(guest, encode(Request(0, MIN))) == _nack(0, MIN)


def test_a_paused_domain_s_requests_are_kept_for_later(bench: Workbench) -> None:
    guest = bench.simple()
    bench.define_domain(is_executing=False)
    assert bench.ask(guest, encode(Request(0, MIN))) == _ack(0, MIN)
    assert bench.clock() == TURBO
    bench.define_domain()
    assert bench.clock() == LOWEST


# The kernel refuses


def test_what_the_kernel_refuses_is_refused_and_reported_once(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.refuse_writes()
    for _ in range(3):
        assert bench.ask(guest, encode(Request(0, MIN))) == _nack(0, MIN)
    assert bench.counts() == {"nacks": 3}
    assert bench.reports == [messages.WriteRefused(0, 28)]
    assert bench.refusals() == 4  # one of them when the group was handed over
    assert bench.grant() == TURBO  # the last that the kernel accepted


def test_a_kernel_that_takes_writes_again_is_noticed(bench: Workbench) -> None:
    guest = bench.simple()
    bench.refuse_writes()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.hand_over()
    assert bench.ask(guest, encode(Request(0, MIN))) == _ack(0, MIN)
    assert bench.clock() == LOWEST


def test_a_write_that_fails_on_the_fast_path_is_refused_too(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    clock = bench.claims.clocks[0]
    with Path("/dev/full").open("wb", buffering=0) as full:
        good, clock.write_fd = clock.write_fd, full.fileno()
        assert bench.ask(guest, encode(Request(0, MAX))) == _nack(0, MAX)
        assert bench.ask(guest, encode(Request(0, MAX)) * 2) == _nack(0, MAX) * 2
        clock.write_fd = good
    assert bench.ask(guest, encode(Request(0, MAX))) == _ack(0, MAX)
    assert bench.clock() == TURBO
    assert bench.counts() == {"acks": 2, "nacks": 3}


def test_only_the_requests_that_caused_a_refused_write_are_refused(
    bench: Workbench,
) -> None:
    for group in (0, 1):
        bench.define_group(group)
    bench.hand_over(0)
    bench.refuse_writes(1)
    bench.define_domain(groups=(0, 1))
    guest = bench.adopt()
    packets = [Request(0, MIN), Request(1, MIN), Request(0, DOWN), Request(1, 9)]
    answers = bench.ask(guest, b"".join(map(encode, packets)))
    assert answers == _ack(0, MIN) + _nack(1, MIN) + _ack(0, DOWN) + _nack(1, 9)
    assert bench.counts() == {"acks": 2, "nacks": 2}


def test_a_planned_batch_refuses_exactly_what_the_kernel_refused(
    bench: Workbench,
) -> None:
    for group in (0, 1):
        bench.define_group(group)
        bench.hand_over(group)
    bench.define_domain(groups=(0, 1))
    guest = bench.adopt()
    bench.ask(guest, encode(Request(0, MIN)) + encode(Request(1, MIN)))
    clock = bench.claims.clocks[1]
    with Path("/dev/full").open("wb", buffering=0) as full:
        good, clock.write_fd = clock.write_fd, full.fileno()
        packets = encode(Request(1, MAX)) + encode(Request(0, MAX))
        assert bench.ask(guest, packets) == _nack(1, MAX) + _ack(0, MAX)
        clock.write_fd = good


# Many requests in one read


def test_absolute_requests_of_one_read_supersede_each_other(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.path().write_text("untouched\n")
    packets = encode(Request(0, MAX)) + encode(Request(0, MIN))
    assert bench.ask(guest, packets) == packets
    assert bench.path().read_text() == "untouched\n"
    assert bench.counts() == {"acks": 3}


def test_relative_requests_of_one_read_all_count(bench: Workbench) -> None:
    guest = bench.simple()
    packets = encode(Request(0, DOWN)) * 3 + encode(Request(0, UP))
    assert bench.ask(guest, packets) == packets
    assert bench.clock() == MIDDLE


def test_a_read_is_bounded_and_the_rest_comes_in_the_next_pass(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    count = MOST_PACKETS + 10
    guest.sendall(encode(Request(0, MIN)) * count)
    bench.turn()
    assert len(receive(guest)) == MOST_PACKETS * SIZE
    bench.turn()
    assert len(receive(guest)) == 10 * SIZE
    assert bench.counts() == {"acks": count + 1}


def test_the_vectors_of_this_generation_are_each_answered_as_they_should(
    bench: Workbench,
) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(groups=(0,) * 6)
    guest = bench.adopt()
    acked = []
    for line in VECTORS.read_text().splitlines():
        name, _, text = line.split()
        packet = bytes.fromhex(text)
        if name.startswith(("G3.", "G4.CPU", "G4.CONN", "G4.PKT")):
            answer = bench.ask_main_too(guest, packet)
            if answer == encode_answer(packet, Answer.ACK):
                acked.append(name.split(".")[1])
            else:
                assert ("physical" in name) == (answer != b"")
    units = [f"CPU_POWER_{unit.name}_lcore3" for unit in Unit]
    kinds = ("TIME_guestcli_defaults", "TRAFFIC", "WORKLOAD_LOW", "BRANCH_RATIO")
    policies = [f"PKT_POLICY_{kind}" for kind in kinds]
    assert acked == (units + policies) * 2


# Streams


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
    """Return answers, votes, clocks and counters of a fresh monitor."""
    with TemporaryDirectory() as name, Workbench(Path(name)) as bench:
        for group in (0, 1):
            bench.define_group(group)
            bench.hand_over(group)
        bench.define_domain(groups=(0, 1, 1, None))
        guest = bench.adopt()
        answers = b""
        for piece in pieces:
            if not has_plans:
                for endpoint in bench.watch.endpoints.values():
                    endpoint.plans.clear()
            answers += bench.ask_main_too(guest, piece)
        votes = [bench.vote(vcpu) for vcpu in range(4)]
        return answers, votes, [bench.clock(0), bench.clock(1)], bench.counts()


@given(many, st.lists(st.integers(0, 12 * SIZE), max_size=8))
@settings(max_examples=60, deadline=None)
def test_answers_and_votes_do_not_depend_on_how_the_stream_was_cut(
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


@given(st.lists(st.binary(min_size=1, max_size=3 * SIZE), max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_bytes_close_a_channel_or_keep_it_from_recovering(
    pieces: list[bytes],
) -> None:
    with TemporaryDirectory() as name, Workbench(Path(name)) as bench:
        guest = bench.simple()
        for piece in pieces:
            guest.sendall(piece)
            bench.turn()
            receive(guest)
        bench.now_ns += IDLE_NS
        assert bench.ask(guest, encode(Request(0, MIN))) == _ack(0, MIN)
        assert bench.reports == []


def test_a_packet_in_single_bytes_is_a_packet(bench: Workbench) -> None:
    guest = bench.simple()
    packet = encode(Request(0, MIN))
    answers = [bench.ask(guest, packet[i : i + 1]) for i in range(SIZE)]
    assert answers == [b""] * (SIZE - 1) + [packet]


def test_a_part_of_a_packet_that_stays_alone_is_dropped(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, b"\1" * 100)
    bench.now_ns += IDLE_NS
    assert bench.ask(guest, encode(Request(0, MIN))) == _ack(0, MIN)
    assert bench.counts() == {"acks": 1, "errors": 1}


def test_one_guest_s_garbage_does_not_touch_another(bench: Workbench) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(groups=(0, 0))
    bad, good = bench.adopt(number=0), bench.adopt(number=1)
    bad.sendall(b"\xff" * 1_000)
    good.sendall(encode(Request(1, MIN)))
    bench.turn()
    assert receive(good) == _ack(1, MIN)
    assert receive(bad) == b""
    assert bench.counts(number=1) == {"acks": 1}


# Answers that are not given


def test_an_answer_that_comes_too_late_is_not_given(bench: Workbench) -> None:
    guest = bench.simple()
    guest.sendall(encode(Request(0, MIN)) * 2 + encode(Request(9, MIN)))
    bench.turn(age_ns=LATE_NS)
    assert receive(guest) == b""
    assert bench.clock() == LOWEST
    assert bench.counts() == {"late": 3}


def test_a_guest_that_never_reads_costs_nothing_but_its_own_answers(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    packet = encode(Request(0, MIN))
    for _ in range(100):
        guest.sendall(packet * 100)
        bench.exhaust()
    counts = bench.counts()
    assert counts["acks"] + counts["dropped"] == 10_000
    assert counts["dropped"] > 5_000
    # What did arrive are whole packets; room in the socket brings new ones.
    received = receive(guest)
    bench.turn()
    received += receive(guest)
    assert received == packet * counts["acks"]
    assert bench.ask(guest, packet) == packet


def test_an_answer_that_was_cut_is_finished_before_any_other(bench: Workbench) -> None:
    guest = bench.simple()
    endpoint = next(iter(bench.watch.endpoints.values()))
    with contextlib.suppress(BlockingIOError):
        while True:
            endpoint.send(b"\0" * SIZE)
    endpoint.unsent = b"\7" * 10  # as if the socket had taken all but ten bytes
    bench.watch.watch_writing(endpoint)
    guest.sendall(encode(Request(0, MIN)))
    bench.turn()
    assert bench.counts() == {"dropped": 1}
    assert len(receive(guest)) > 100 * SIZE
    bench.turn()
    assert receive(guest) == b"\7" * 10
    assert bench.ask(guest, encode(Request(0, MIN))) == _ack(0, MIN)


def test_a_guest_that_hangs_up_with_answers_under_way_ends_only_itself(
    bench: Workbench,
) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(groups=(0, 0))
    first, second = bench.adopt(number=0), bench.adopt(number=1)
    first.sendall(encode(Request(0, MIN)))
    second.sendall(encode(Request(1, MIN)))
    first.shutdown(socket.SHUT_RD)
    bench.turn()
    assert receive(second) == _ack(1, MIN)
    assert bench.reports == [messages.EndpointClosed(0, 0, 1, "EPIPE")]


# Many guests at once


def _crowd(bench: Workbench, count: int = 40) -> list[socket.socket]:
    """A group and a channel each for many vCPUs, with votes: all have their plans."""
    for group in range(count):
        bench.define_group(group)
        bench.hand_over(group)
    bench.define_domain(groups=tuple(range(count)))
    guests = [bench.adopt(number=number) for number in range(count)]
    for vcpu, guest in enumerate(guests):
        assert bench.ask(guest, encode(Request(vcpu, MIN))) == _ack(vcpu, MIN)
    return guests


def _all_send(guests: list[socket.socket], unit: int) -> None:
    for vcpu, guest in enumerate(guests):
        guest.sendall(encode(Request(vcpu, unit)))


def test_many_guests_that_ask_at_once_are_all_answered_in_one_pass(
    bench: Workbench,
) -> None:
    guests = _crowd(bench)
    _all_send(guests, MAX)
    bench.turn()
    for vcpu, guest in enumerate(guests):
        assert receive(guest) == _ack(vcpu, MAX)
        assert bench.clock(vcpu) == TURBO
        assert bench.counts(number=vcpu) == {"acks": 2}


def test_one_of_many_that_hangs_up_ends_only_itself(bench: Workbench) -> None:
    guests = _crowd(bench)
    _all_send(guests, MAX)
    guests[3].shutdown(socket.SHUT_RD)
    bench.turn()
    assert bench.reports == [messages.EndpointClosed(0, 3, 1, "EPIPE")]
    assert all(receive(guest) for guest in guests[4:])


def test_one_of_many_that_does_not_read_loses_only_its_own_answers(
    bench: Workbench,
) -> None:
    guests = _crowd(bench)
    deaf = bench.claims.speakers[next(iter(bench.claims.speakers))][5]
    with contextlib.suppress(BlockingIOError):
        while True:
            deaf.send(b"\0" * SIZE)
    _all_send(guests, MAX)
    bench.turn()
    assert bench.counts(number=5) == {"acks": 1, "dropped": 1}
    assert receive(guests[6]) == _ack(6, MAX)


def test_many_answers_that_come_too_late_are_not_given(bench: Workbench) -> None:
    guests = _crowd(bench)
    _all_send(guests, MAX)
    bench.turn(age_ns=LATE_NS)
    assert [receive(guest) for guest in guests] == [b""] * len(guests)
    assert bench.counts(number=7) == {"acks": 1, "late": 1}


def test_a_channel_that_main_closes_before_its_answer_is_sent_is_no_news(
    bench: Workbench,
) -> None:
    guests = _crowd(bench)
    _all_send(guests, MAX)
    bench.main.send(messages.encode(messages.CloseChannel(0, 38)))
    bench.turn()
    assert receive(guests[37]) == _ack(37, MAX)
    assert receive(guests[38]) == b""
    assert bench.reports == []
    assert bench.vote(38) == 0


def test_a_long_pass_makes_the_next_one_smaller(bench: Workbench) -> None:
    loop, sizes = bench.loop, []
    passes = [(64, True), (20, True), (5, True), (5, False), (8, False), (16, False)]
    for count, is_long in passes:
        loop.resize(count, LONG_PASS_NS + is_long)
        sizes.append(loop.max_events)
    assert sizes == [32, 10, 8, 8, 16, 32]


# Answers that wait


def _untaken(bench: Workbench) -> socket.socket:
    bench.define_group()
    bench.hand_over(is_taken=False)
    bench.define_domain()
    return bench.adopt()


TAKEN, NOT_TAKEN = messages.AnswerTake(0, True), messages.AnswerTake(0, False)  # noqa: FBT003


def test_the_first_request_has_its_group_taken_and_waits(bench: Workbench) -> None:
    guest = _untaken(bench)
    assert bench.ask(guest, encode(Request(0, MIN))) == b""
    assert bench.reports == [messages.TakeWanted(0)]
    assert bench.counts() == {"waiting": 1}
    bench.tell(TAKEN)
    assert receive(guest) == _ack(0, MIN)
    assert bench.clock() == LOWEST
    assert bench.counts() == {"acks": 1}


def test_connect_has_the_group_taken(bench: Workbench) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode_connect())
    assert bench.reports == [messages.TakeWanted(0)]
    bench.tell(TAKEN)
    assert receive(guest) == b""
    assert bench.clock() == TURBO


def test_requests_fold_while_their_group_is_taken(bench: Workbench) -> None:
    guest = _untaken(bench)
    packets = [encode(Request(0, unit)) for unit in (MIN, UP, 9, UP)]
    for packet in packets:
        assert bench.ask(guest, packet) == b""
    assert bench.reports == [messages.TakeWanted(0)]
    bench.tell(TAKEN)
    assert receive(guest) == packets[0] + packets[1] + _nack(0, 9) + packets[3]
    assert bench.clock() == NOMINAL


def test_a_group_that_could_not_be_taken_refuses_what_waited(bench: Workbench) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(NOT_TAKEN)
    assert receive(guest) == _nack(0, MIN)
    # and is not asked for again at once
    assert bench.ask(guest, encode(Request(0, MIN))) == _nack(0, MIN)
    assert bench.reports == [messages.TakeWanted(0)]


def test_answers_that_waited_too_long_are_not_given(bench: Workbench) -> None:
    guest = _untaken(bench)
    guest.sendall(encode(Request(0, MIN)))
    bench.turn(age_ns=LATE_NS)
    bench.tell(TAKEN)
    assert receive(guest) == b""
    assert bench.clock() == LOWEST
    assert bench.counts() == {"late": 1}


def test_a_request_may_come_before_the_descriptors(bench: Workbench) -> None:
    bench.define_group()
    bench.define_domain()
    guest = bench.adopt()
    assert bench.ask(guest, encode(Request(0, MIN))) == b""
    bench.hand_over(is_taken=False)
    assert receive(guest) == b""
    bench.tell(TAKEN)
    assert receive(guest) == _ack(0, MIN)


def test_an_answer_does_not_overtake_one_that_waits(bench: Workbench) -> None:
    for group in (0, 1):
        bench.define_group(group)
        bench.hand_over(group, is_taken=group == 1)
    bench.define_domain(groups=(0, 1))
    guest = bench.adopt()
    assert bench.ask(guest, encode(Request(0, MIN))) == b""
    assert bench.ask(guest, encode(Request(1, MIN))) == b""
    assert bench.clock(1) == LOWEST
    bench.tell(TAKEN)
    assert receive(guest) == _ack(0, MIN) + _ack(1, MIN)


def test_the_answers_that_wait_are_bounded(bench: Workbench) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode(Request(0, MIN)) * (MAX_WAITING + 5))
    assert bench.counts() == {"waiting": MAX_WAITING, "dropped": 5}
    bench.tell(TAKEN)
    assert receive(guest) == _ack(0, MIN) * MAX_WAITING


def test_a_guest_that_leaves_while_its_answer_waits_is_forgotten(
    bench: Workbench,
) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode(Request(0, MIN)))
    guest.close()
    bench.turn()
    bench.tell(TAKEN)
    assert bench.reports[1:] == [messages.EndpointClosed(0, 0, 1, "hung up")]
    assert bench.clock() == TURBO


def test_taking_back_a_group_refuses_what_waits_for_it(bench: Workbench) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(messages.TakeBack(0))
    assert receive(guest) == _nack(0, MIN)
