from __future__ import annotations

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
    encode,
    encode_answer,
    encode_connect,
)
from orchestrator.channel.recognition import MOST_PACKETS
from orchestrator.monitor import messages
from orchestrator.monitor.share import MOST_REST_NS, TURN_NS
from tests.monitor.workbench import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SIZE,
    TURBO,
    Workbench,
    ack,
    nack,
    receive,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


# One request


def test_a_request_changes_the_clock_and_is_acknowledged(bench: Workbench) -> None:
    guest = bench.simple()
    assert bench.ask(guest, encode(Request(0, MIN))) == ack(0, MIN)
    assert (bench.clock(), bench.grant(), bench.vote()) == (LOWEST, LOWEST, LOWEST)
    assert bench.counts() == {"acks": 1}


def test_the_calls_of_dpdk_s_test_suite_set_the_clocks_of_its_turbo_rules(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode_connect())
    clocks = []
    for unit in (ENABLE, DISABLE, UP, DOWN, MIN, MAX):
        assert bench.ask(guest, encode(Request(0, unit))) == ack(0, unit)
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
    assert bench.ask(guest, encode(Request(1, MIN))) == ack(1, MIN)
    assert (bench.clock(0), bench.clock(1)) == (TURBO, LOWEST)


def test_a_neighbour_in_the_clock_group_is_not_slowed(bench: Workbench) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(0)
    bench.define_domain(1)
    first, second = bench.adopt(0), bench.adopt(1)
    assert bench.ask(first, encode(Request(0, MIN))) == ack(0, MIN)
    assert bench.clock() == TURBO
    assert bench.ask(second, encode(Request(0, DOWN))) == ack(0, DOWN)
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
    assert bench.ask(guest, encode(Request(0, MIN))) == ack(0, MIN)


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
    assert bench.ask(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert (len(bench.reports), bench.vote()) == (1, 0)
    assert bench.told_refusals() == [(0, "observed", 0, MIN)]


def test_main_is_told_the_first_refusal_of_each_reason(bench: Workbench) -> None:
    guest = bench.simple()
    for request in (Request(0, 9), Request(7, MIN), Request(0, 10), Request(8, MIN)):
        bench.ask(guest, encode(request))
    told = [(0, "unit", 0, 9), (0, "no-vcpu", 7, MIN)]
    assert bench.told_refusals() == told
    assert bench.reasons() == {"unit": 2, "no-vcpu": 2}
    # An operator's word may have changed the cause.
    bench.define_domain(is_turbo_allowed=False)
    bench.ask(guest, encode(Request(0, 10)))
    bench.tell(messages.SwitchChannel(0, 0, is_enabled=False))
    bench.ask(guest, encode(Request(0, 11)))
    bench.ask(guest, encode(Request(0, 12)))
    assert bench.told_refusals() == [*told, (0, "unit", 0, 10), (0, "disabled", 0, 11)]


def test_a_floating_vcpu_is_refused(bench: Workbench) -> None:
    bench.define_domain(groups=(None,))
    assert bench.ask(bench.adopt(), encode(Request(0, MIN))) == nack(0, MIN)


def test_a_group_that_the_operator_overrides_refuses_guests(bench: Workbench) -> None:
    guest = bench.simple()
    bench.define_group(override_khz=MIDDLE)
    assert bench.clock() == MIDDLE
    assert bench.ask(guest, encode(Request(0, MIN))) == nack(0, MIN)
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
    assert bench.ask(guest, encode(Request(0, MIN)) * 2) == nack(0, MIN) * 2
    assert bench.ask(guest, encode_connect()) == b""
    bench.tell(messages.SwitchChannel(0, 0, True))  # noqa: FBT003 - a message
    assert bench.ask(guest, encode(Request(0, MIN))) == ack(0, MIN)


def test_a_channel_that_is_adopted_disabled_is_refused(bench: Workbench) -> None:
    bench.simple()
    guest = bench.adopt(number=1, is_enabled=False)
    assert bench.ask(guest, encode(Request(0, MIN))) == nack(0, MIN)


def test_a_paused_domain_s_requests_are_kept_for_later(bench: Workbench) -> None:
    guest = bench.simple()
    bench.define_domain(is_executing=False)
    assert bench.ask(guest, encode(Request(0, MIN))) == ack(0, MIN)
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
        assert bench.ask(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert bench.counts() == {"nacks": 3}
    assert bench.reports == [messages.WriteRefused(0, 28)]
    assert bench.refusals() == 4  # one of them when the group was handed over
    assert bench.grant() == TURBO  # the last that the kernel accepted


def test_a_kernel_that_takes_writes_again_is_noticed(bench: Workbench) -> None:
    guest = bench.simple()
    bench.refuse_writes()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.hand_over()
    assert bench.ask(guest, encode(Request(0, MIN))) == ack(0, MIN)
    assert bench.clock() == LOWEST


def test_a_write_that_fails_on_the_fast_path_is_refused_too(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    clock = bench.claims.clocks[0]
    with Path("/dev/full").open("wb", buffering=0) as full:
        good, clock.write_fd = clock.write_fd, full.fileno()
        assert bench.ask(guest, encode(Request(0, MAX))) == nack(0, MAX)
        assert bench.ask(guest, encode(Request(0, MAX)) * 2) == nack(0, MAX) * 2
        clock.write_fd = good
    assert bench.ask(guest, encode(Request(0, MAX))) == ack(0, MAX)
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
    assert answers == ack(0, MIN) + nack(1, MIN) + ack(0, DOWN) + nack(1, 9)
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
        assert bench.ask(guest, packets) == nack(1, MAX) + ack(0, MAX)
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


def test_a_guest_that_had_its_share_is_read_less_and_later(bench: Workbench) -> None:
    guest = bench.simple()
    sent = 100
    guest.sendall(encode(Request(0, UP)) * sent)
    bench.tick_ns = TURN_NS + 1
    bench.turn()
    assert len(receive(guest)) == MOST_PACKETS * SIZE
    bench.turn()
    assert receive(guest) == b""
    bench.now_ns += MOST_REST_NS
    bench.tick_ns = 0
    bench.turn()
    bench.turn()
    assert len(receive(guest)) == MOST_PACKETS // 2 * SIZE
    bench.exhaust()
    assert bench.counts() == {"acks": sent}


def test_a_guest_that_sends_one_packet_at_a_time_is_read_at_once(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.tick_ns = TURN_NS + 1
    for _ in range(100):
        assert bench.ask(guest, encode(Request(0, UP))) == ack(0, UP)


def test_a_guest_that_rests_may_hang_up(bench: Workbench) -> None:
    guest = bench.simple()
    bench.tick_ns = TURN_NS + 1
    guest.sendall(encode(Request(0, UP)) * MOST_PACKETS)
    bench.turn()
    assert bench.exchange.resting
    receive(guest)
    guest.close()
    bench.turn()
    assert bench.reports[-1] == messages.EndpointClosed(0, 0, 1, "hung up")
    assert not bench.exchange.resting


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
