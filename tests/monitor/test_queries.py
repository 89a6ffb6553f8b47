# SPDX-License-Identifier: Apache-2.0
"""Queries: a guest reads the frequencies and capabilities of its own vCPUs."""

from __future__ import annotations

import pytest

from orchestrator.channel.protocol import (
    GENERATION_460,
    GENERATION_464,
    MAX_VCPUS,
    Answer,
    Command,
    Generation,
    PolicyPacket,
    Request,
    Unit,
    decode_capabilities,
    decode_frequencies,
    encode,
    encode_policy,
    encode_refusal,
)
from orchestrator.monitor.link import commands
from orchestrator.monitor.process.answers import LATE_NS
from tests.channel.vectors import read_vectors
from tests.monitor.in_process_monitor import LOWEST, MIDDLE, TURBO, InProcessMonitor

MIN = Unit.SCALE_MIN
ANSWERED = [GENERATION_460, GENERATION_464]
QUERIES = (
    Command.QUERY_FREQ_LIST,
    Command.QUERY_FREQ,
    Command.QUERY_CAPS_LIST,
    Command.QUERY_CAPS,
)


def _query(
    command: int, vcpu: int = 0, generation: Generation = GENERATION_464
) -> bytes:
    packet = PolicyPacket(resource_id=vcpu, command=command, vm_name=b"ubuntu2")
    return encode_policy(packet, generation)


def _refusal(command: int, generation: Generation = GENERATION_464) -> bytes:
    return encode_refusal(command, generation, vm_name=b"ubuntu2")


def _three(monitor: InProcessMonitor) -> None:
    """Define two taken groups, one that is not, a vCPU in each, and one that floats."""
    monitor.define_group(0)
    monitor.define_group(1, steps=(2_000_000, 1_200_000))
    monitor.define_group(2)
    monitor.hand_over(0)
    monitor.hand_over(1)
    monitor.define_domain(groups=(0, 1, 2, None))


def _fill(*values: int) -> tuple[int, ...]:
    return values + (0,) * (MAX_VCPUS - len(values))


def test_a_list_query_returns_the_frequencies_of_all_vcpus(
    monitor: InProcessMonitor,
) -> None:
    _three(monitor)
    guest = monitor.adopt()
    monitor.request(guest, encode(Request(0, MIN)))
    reply = decode_frequencies(monitor.request(guest, _query(Command.QUERY_FREQ_LIST)))
    assert reply.command == Answer.FREQ_LIST
    assert reply.khz == _fill(LOWEST, MIDDLE)
    assert (reply.num_vcpu, reply.vm_name) == (4, b"ubuntu2".ljust(32, b"\0"))


def test_a_query_returns_one_frequency(monitor: InProcessMonitor) -> None:
    _three(monitor)
    guest = monitor.adopt()
    replies = [
        decode_frequencies(monitor.request(guest, _query(Command.QUERY_FREQ, vcpu)))
        for vcpu in range(4)
    ]
    assert [reply.khz for reply in replies] == [
        _fill(TURBO),
        _fill(0, MIDDLE),
        _fill(),
        _fill(),
    ]
    assert [reply.resource_id for reply in replies] == [0, 1, 2, 3]
    assert monitor.counts() == {"acks": 4}


def test_capabilities_respect_the_operator_s_settings(
    monitor: InProcessMonitor,
) -> None:
    _three(monitor)
    guest = monitor.adopt()
    reply = decode_capabilities(monitor.request(guest, _query(Command.QUERY_CAPS_LIST)))
    assert (reply.command, reply.num_vcpu) == (Answer.CAPS_LIST, 4)
    assert (reply.turbo, reply.priority) == (_fill(1, 0, 1), _fill())
    one = decode_capabilities(monitor.request(guest, _query(Command.QUERY_CAPS, 2)))
    assert one.turbo == _fill(0, 0, 1)
    monitor.define_domain(groups=(0, 1, 2, None), is_turbo_allowed=False)
    none = decode_capabilities(monitor.request(guest, _query(Command.QUERY_CAPS_LIST)))
    assert none.turbo == _fill()


def test_only_8_of_many_vcpus_are_returned(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(groups=(0,) * 12)
    guest = monitor.adopt()
    reply = decode_frequencies(monitor.request(guest, _query(Command.QUERY_FREQ_LIST)))
    assert (reply.khz, reply.num_vcpu) == ((TURBO,) * 8, 8)
    refused = monitor.request(guest, _query(Command.QUERY_FREQ, 8))
    assert refused == _refusal(Command.QUERY_FREQ)
    assert monitor.reasons() == {"no-vcpu": 1}


@pytest.mark.parametrize("generation", ANSWERED, ids=lambda g: str(g.size_bytes))
@pytest.mark.parametrize("command", QUERIES)
def test_a_refused_query_keeps_the_guest_in_step(
    monitor: InProcessMonitor, generation: Generation, command: Command
) -> None:
    monitor.simple()
    monitor.define_domain(generation=generation.size_bytes)
    guest = monitor.adopt()
    query, refusal = _query(command, 0, generation), _refusal(command, generation)
    monitor.define_domain(generation=generation.size_bytes, may_query=False)
    assert monitor.request(guest, query) == refusal
    monitor.define_domain(generation=generation.size_bytes)
    monitor.apply(commands.SwitchChannel("0", 0, is_enabled=False))
    assert monitor.request(guest, query) == refusal
    monitor.apply(commands.SwitchChannel("0", 0, is_enabled=True))
    layout = {
        Command.QUERY_FREQ_LIST: generation.frequencies,
        Command.QUERY_FREQ: generation.frequencies,
    }.get(command, generation.capabilities)
    assert layout is not None
    assert len(monitor.request(guest, query)) == layout.size == len(refusal)
    assert monitor.reasons() == {"queries-forbidden": 1, "disabled": 1}
    assert monitor.counts() == {"acks": 1, "nacks": 2}


@pytest.mark.parametrize("vcpu", [1, 7, 8, 2**32, 2**64 - 1])
def test_a_query_for_an_unknown_vcpu_is_refused(
    monitor: InProcessMonitor, vcpu: int
) -> None:
    guest = monitor.simple()
    for command in (Command.QUERY_FREQ, Command.QUERY_CAPS):
        assert monitor.request(guest, _query(command, vcpu)) == _refusal(command)
    assert monitor.reasons() == {"no-vcpu": 2}


def test_a_domain_in_observe_mode_may_query(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.hand_over(is_taken=False)
    monitor.define_domain(is_enforced=False)
    reply = decode_frequencies(
        monitor.request(monitor.adopt(), _query(Command.QUERY_FREQ))
    )
    assert (reply.command, reply.khz) == (Answer.FREQ_LIST, _fill())


def test_replies_keep_their_place_among_other_answers(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    low, high = (encode(Request(0, unit)) for unit in (MIN, Unit.SCALE_MAX))
    policy, query = encode_policy(PolicyPacket()), _query(Command.QUERY_FREQ)
    answers = monitor.request(guest, low + query + high + query)
    assert (answers[:464], answers[552:1016]) == (low, high)
    # Requests before a query in the same read are in effect when it is answered.
    for reply, khz in ((answers[464:552], LOWEST), (answers[1016:], TURBO)):
        assert decode_frequencies(reply).khz == _fill(khz)
    assert monitor.request(guest, policy + query) == b""
    monitor.answer_policy(monitor.policies()[0])
    monitor.run_pass()
    assert monitor.counts() == {"acks": 6}


def test_a_late_reply_is_dropped(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    guest.sendall(_query(Command.QUERY_CAPS))
    monitor.run_pass(age_ns=LATE_NS)
    assert monitor.counts() == {"late": 1}


def test_the_queries_of_dpdk_s_guest_command_line_get_the_expected_replies(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group(steps=(2_300_001, 2_300_000, 1_200_000, 800_000))
    monitor.hand_over()
    monitor.define_domain(groups=(0,) * 4)
    guest, vectors = monitor.adopt(), read_vectors()
    lengths = {
        "FREQ_LIST": 88,
        "FREQ_vcpu2": 88,
        "CAPS_LIST": 184,
        "CAPS_vcpu2": 184,
    }
    for name, length in lengths.items():
        reply = monitor.request(guest, vectors[f"G4.QUERY_{name}"])
        assert len(reply) == length
        assert reply[12:16] == (3 if length == 88 else 4).to_bytes(4, "little")
        assert reply[-8:] == b"\4" + bytes(7)
