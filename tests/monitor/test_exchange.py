# SPDX-License-Identifier: Apache-2.0
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
from orchestrator.channel.recognition import MAX_PACKETS
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.process.share import MAX_PAUSE_NS, TURN_NS
from orchestrator.power.writer import SetspeedWriter
from orchestrator.values.refusal import Refusal
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SIZE,
    TURBO,
    InProcessMonitor,
    ack,
    nack,
    receive,
)
from tests.properties import examples

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


# One request


def test_a_request_changes_the_frequency_and_is_acknowledged(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    assert monitor.request(guest, encode(Request(0, MIN))) == ack(0, MIN)
    assert (monitor.frequency(), monitor.grant(), monitor.vote()) == (
        LOWEST,
        LOWEST,
        LOWEST,
    )
    assert monitor.counts() == {"acks": 1}


def test_the_calls_of_dpdk_s_test_suite_set_the_frequencies_of_its_turbo_rules(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode_connect())
    frequencies = []
    for unit in (ENABLE, DISABLE, UP, DOWN, MIN, MAX):
        assert monitor.request(guest, encode(Request(0, unit))) == ack(0, unit)
        frequencies.append(monitor.frequency())
    assert frequencies == [TURBO, NOMINAL, NOMINAL, MIDDLE, LOWEST, NOMINAL]
    assert monitor.counts() == {"acks": 6}


def test_a_frequency_is_written_only_if_it_changes(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.path().write_text("untouched\n")
    for _ in range(2):
        monitor.request(guest, encode(Request(0, MIN)))
    assert monitor.path().read_text() == "untouched\n"
    assert monitor.counts() == {"acks": 3}


def test_a_channel_may_send_requests_for_any_vcpu_of_its_domain(
    monitor: InProcessMonitor,
) -> None:
    for group in (0, 1):
        monitor.define_group(group)
        monitor.hand_over(group)
    monitor.define_domain(groups=(0, 1))
    guest = monitor.adopt(number=0)
    assert monitor.request(guest, encode(Request(1, MIN))) == ack(1, MIN)
    assert (monitor.frequency(0), monitor.frequency(1)) == (TURBO, LOWEST)


def test_a_neighbor_in_the_clock_group_is_not_slowed(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(0)
    monitor.define_domain(1)
    first, second = monitor.adopt(0), monitor.adopt(1)
    assert monitor.request(first, encode(Request(0, MIN))) == ack(0, MIN)
    assert monitor.frequency() == TURBO
    assert monitor.request(second, encode(Request(0, DOWN))) == ack(0, DOWN)
    assert monitor.frequency() == NOMINAL
    monitor.request(second, encode(Request(0, MIN)))
    assert monitor.frequency() == LOWEST


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
def test_an_invalid_request_is_refused(
    monitor: InProcessMonitor, request_: Request
) -> None:
    guest = monitor.simple()
    answer = monitor.request(guest, encode(request_))
    assert answer == encode_answer(encode(request_), Answer.NACK)
    assert monitor.counts() == {"nacks": 1}
    assert monitor.frequency() == TURBO


def test_a_name_in_a_packet_is_not_identity(monitor: InProcessMonitor) -> None:
    monitor.define_group(0)
    monitor.define_group(1)
    monitor.hand_over(0)
    monitor.hand_over(1)
    monitor.define_domain(0, groups=(0,))
    monitor.define_domain(1, groups=(1,))
    guest = monitor.adopt(0)
    packet = bytearray(encode(Request(0, MIN)))
    packet[16:24] = b"domain-1"
    assert monitor.request(guest, bytes(packet)) == packet
    assert (monitor.frequency(0), monitor.frequency(1)) == (LOWEST, TURBO)


def test_an_answer_keeps_every_byte_that_the_guest_sent(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    packet = bytearray(b"\xa5" * SIZE)
    packet[:16] = encode(Request(0, MIN))[:16]
    packet[444] = 0
    assert monitor.request(guest, bytes(packet)) == packet
    packet[8] = 9
    assert monitor.request(guest, bytes(packet)) == encode_answer(
        bytes(packet), Answer.NACK
    )


@pytest.mark.parametrize("command", [0, 5, 6, 11, 2**32 - 1])
def test_an_unknown_command_is_counted_and_not_answered(
    monitor: InProcessMonitor, command: int
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    assert monitor.request(guest, encode(Request(0, MIN, command))) == b""
    assert monitor.counts() == {"acks": 1, "errors": 1}
    assert monitor.request(guest, encode(Request(0, MIN))) == ack(0, MIN)


# CONNECT


def test_connect_is_not_answered_and_votes_for_the_highest_step(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    assert monitor.request(guest, encode_connect()) == b""
    assert (monitor.frequency(), monitor.vote()) == (TURBO, TURBO)
    assert monitor.counts() == {"acks": 1}


@given(garbage=st.binary(min_size=SIZE, max_size=SIZE))
@settings(max_examples=examples(30))
def test_only_the_command_of_connect_counts(garbage: bytes) -> None:
    packet = bytearray(garbage)
    packet[12:16] = bytes([Command.CONNECT, 0, 0, 0])
    with TemporaryDirectory() as name, InProcessMonitor(Path(name)) as monitor:
        monitor.define_group(0)
        monitor.define_group(1)
        monitor.define_domain(groups=(0, 1))
        assert monitor.request(monitor.adopt(number=1), bytes(packet)) == b""
        assert monitor.reports == [reports.TakeWanted(1)]
        assert monitor.counts(number=1) == {}


def test_connect_enables_turbo_that_an_earlier_program_disabled(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, DISABLE)))
    monitor.request(guest, encode_connect())
    assert monitor.frequency() == TURBO


def test_connect_of_a_channel_without_a_vcpu_of_its_number_is_ignored(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    guest = monitor.adopt(number=7)
    assert monitor.request(guest, encode_connect()) == b""
    assert monitor.counts(number=7) == {}


# Reasons for refusals


def test_a_domain_in_observe_mode_is_refused_and_takes_no_group(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.define_domain(is_enforced=False)
    guest = monitor.adopt()
    assert monitor.request(guest, encode_connect()) == b""
    assert monitor.request(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert (len(monitor.reports), monitor.vote()) == (1, 0)
    assert monitor.reported_refusals() == [(0, "observed", 0, MIN)]


def test_what_an_observed_guest_would_have_got_is_noted(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.define_domain(is_enforced=False, max_khz=NOMINAL)
    guest = monitor.adopt()

    monitor.request(guest, encode(Request(0, MAX)))
    assert monitor.observed() == NOMINAL
    monitor.request(guest, encode(Request(0, DOWN)))
    assert monitor.observed() == MIDDLE
    monitor.request(guest, encode(Request(0, 99)))
    monitor.request(guest, encode(Request(7, MIN)))

    assert (monitor.observed(), monitor.vote()) == (MIDDLE, 0)
    guest.close()
    monitor.run_pass()
    assert monitor.observed() == 0


def test_a_domain_that_is_enforced_begins_without_what_was_only_noted(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.define_domain(is_enforced=False)
    guest = monitor.adopt()
    monitor.request(guest, encode(Request(0, MIN)))
    assert monitor.observed() == LOWEST

    monitor.define_domain()

    assert (monitor.observed(), monitor.vote()) == (0, 0)


def test_the_first_refusal_for_each_reason_is_reported(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    for request in (Request(0, 9), Request(7, MIN), Request(0, 10), Request(8, MIN)):
        monitor.request(guest, encode(request))
    reported = [(0, "unit", 0, 9), (0, "no-vcpu", 7, MIN)]
    assert monitor.reported_refusals() == reported
    assert monitor.reasons() == {"unit": 2, "no-vcpu": 2}
    # A changed setting may be the cause of the next refusal.
    monitor.define_domain(is_turbo_allowed=False)
    monitor.request(guest, encode(Request(0, 10)))
    monitor.apply(commands.SwitchChannel("0", 0, is_enabled=False))
    monitor.request(guest, encode(Request(0, 11)))
    monitor.request(guest, encode(Request(0, 12)))
    assert monitor.reported_refusals() == [
        *reported,
        (0, "unit", 0, 10),
        (0, "disabled", 0, 11),
    ]


def test_a_floating_vcpu_is_refused(monitor: InProcessMonitor) -> None:
    monitor.define_domain(groups=(None,))
    assert monitor.request(monitor.adopt(), encode(Request(0, MIN))) == nack(0, MIN)


def test_a_vcpu_without_a_settable_frequency_is_refused_for_another_reason(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.define_domain(groups=(None,), refusal=Refusal.UNMANAGED)
    assert monitor.request(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert monitor.reported_refusals() == [(0, "unmanaged", 0, MIN)]


def test_an_overridden_group_refuses_guests(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.define_group(override_khz=MIDDLE)
    assert monitor.frequency() == MIDDLE
    assert monitor.request(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert monitor.frequency() == MIDDLE


def test_a_request_during_an_override_takes_effect_at_its_release(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.define_group(override_khz=MIDDLE)
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_group()
    assert monitor.frequency() == LOWEST


def test_a_disabled_channel_is_refused_and_its_votes_end(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.apply(commands.SwitchChannel("0", 0, False))  # noqa: FBT003 - a message
    assert (monitor.frequency(), monitor.vote()) == (TURBO, 0)
    assert monitor.request(guest, encode(Request(0, MIN)) * 2) == nack(0, MIN) * 2
    assert monitor.request(guest, encode_connect()) == b""
    monitor.apply(commands.SwitchChannel("0", 0, True))  # noqa: FBT003 - a message
    assert monitor.request(guest, encode(Request(0, MIN))) == ack(0, MIN)


def test_a_channel_that_is_adopted_disabled_is_refused(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    guest = monitor.adopt(number=1, is_enabled=False)
    assert monitor.request(guest, encode(Request(0, MIN))) == nack(0, MIN)


def test_a_paused_domain_s_requests_are_kept_for_later(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.define_domain(is_executing=False)
    assert monitor.request(guest, encode(Request(0, MIN))) == ack(0, MIN)
    assert monitor.frequency() == TURBO
    monitor.define_domain()
    assert monitor.frequency() == LOWEST


# The kernel refuses


def test_a_write_that_the_kernel_refuses_is_refused_and_reported_once(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.refuse_writes()
    for _ in range(3):
        assert monitor.request(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert monitor.counts() == {"nacks": 3}
    assert monitor.reports == [reports.WriteRefused(0, 28)]
    assert monitor.refusals() == 4  # one of them when the group was handed over
    assert monitor.grant() == 0  # the frequency is unknown now


def test_a_kernel_that_accepts_writes_again_is_noticed(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.refuse_writes()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.hand_over()
    assert monitor.request(guest, encode(Request(0, MIN))) == ack(0, MIN)
    assert monitor.frequency() == LOWEST


def test_a_write_that_fails_on_the_fast_path_is_refused_too(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    clock = monitor.groups.clocks[0]
    with Path("/dev/full").open("wb", buffering=0) as full:
        good, clock.writer = clock.writer, SetspeedWriter([full.fileno()])
        assert monitor.request(guest, encode(Request(0, MAX))) == nack(0, MAX)
        assert monitor.request(guest, encode(Request(0, MAX)) * 2) == nack(0, MAX) * 2
        clock.writer = good
    assert monitor.request(guest, encode(Request(0, MAX))) == ack(0, MAX)
    assert monitor.frequency() == TURBO
    assert monitor.counts() == {"acks": 2, "nacks": 3}


def test_only_the_requests_that_caused_a_refused_write_are_refused(
    monitor: InProcessMonitor,
) -> None:
    for group in (0, 1):
        monitor.define_group(group)
    monitor.hand_over(0)
    monitor.refuse_writes(1)
    monitor.define_domain(groups=(0, 1))
    guest = monitor.adopt()
    packets = [Request(0, MIN), Request(1, MIN), Request(0, DOWN), Request(1, 9)]
    answers = monitor.request(guest, b"".join(map(encode, packets)))
    assert answers == ack(0, MIN) + nack(1, MIN) + ack(0, DOWN) + nack(1, 9)
    assert monitor.counts() == {"acks": 2, "nacks": 2}


def test_a_planned_batch_refuses_exactly_what_the_kernel_refused(
    monitor: InProcessMonitor,
) -> None:
    for group in (0, 1):
        monitor.define_group(group)
        monitor.hand_over(group)
    monitor.define_domain(groups=(0, 1))
    guest = monitor.adopt()
    monitor.request(guest, encode(Request(0, MIN)) + encode(Request(1, MIN)))
    clock = monitor.groups.clocks[1]
    with Path("/dev/full").open("wb", buffering=0) as full:
        good, clock.writer = clock.writer, SetspeedWriter([full.fileno()])
        packets = encode(Request(1, MAX)) + encode(Request(0, MAX))
        assert monitor.request(guest, packets) == nack(1, MAX) + ack(0, MAX)
        clock.writer = good


# Many requests in one read


def test_absolute_requests_of_one_read_supersede_each_other(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.path().write_text("untouched\n")
    packets = encode(Request(0, MAX)) + encode(Request(0, MIN))
    assert monitor.request(guest, packets) == packets
    assert monitor.path().read_text() == "untouched\n"
    assert monitor.counts() == {"acks": 3}


def test_relative_requests_of_one_read_all_count(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    packets = encode(Request(0, DOWN)) * 3 + encode(Request(0, UP))
    assert monitor.request(guest, packets) == packets
    assert monitor.frequency() == MIDDLE


def test_a_guest_that_used_its_share_is_read_less_and_later(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    sent = 100
    guest.sendall(encode(Request(0, UP)) * sent)
    monitor.tick_ns = TURN_NS + 1
    monitor.run_pass()
    assert len(receive(guest)) == MAX_PACKETS * SIZE
    monitor.run_pass()
    assert receive(guest) == b""
    monitor.now_ns += MAX_PAUSE_NS
    monitor.tick_ns = 0
    monitor.run_pass()
    monitor.run_pass()
    assert len(receive(guest)) == MAX_PACKETS // 2 * SIZE
    monitor.run_until_idle()
    assert monitor.counts() == {"acks": sent}


def test_a_guest_that_sends_one_packet_at_a_time_is_read_at_once(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.tick_ns = TURN_NS + 1
    for _ in range(100):
        assert monitor.request(guest, encode(Request(0, UP))) == ack(0, UP)


def test_a_paused_guest_may_hang_up(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.tick_ns = TURN_NS + 1
    guest.sendall(encode(Request(0, UP)) * MAX_PACKETS)
    monitor.run_pass()
    assert monitor.exchange.paused
    receive(guest)
    guest.close()
    monitor.run_pass()
    assert monitor.reports[-1] == reports.EndpointClosed("0", 0, 1, "hung up")
    assert not monitor.exchange.paused


def test_a_read_is_limited_and_the_rest_follows_in_the_next_pass(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    count = MAX_PACKETS + 10
    guest.sendall(encode(Request(0, MIN)) * count)
    monitor.run_pass()
    assert len(receive(guest)) == MAX_PACKETS * SIZE
    monitor.run_pass()
    assert len(receive(guest)) == 10 * SIZE
    assert monitor.counts() == {"acks": count + 1}
