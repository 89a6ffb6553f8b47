# SPDX-License-Identifier: Apache-2.0
"""S1 to S17 of docs/conformance.md: what a guest can do to the peer's host."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.channel.endpoint import connect
from orchestrator.channel.protocol import (
    Answer,
    Command,
    PolicyPacket,
    Request,
    Unit,
    decode_capabilities,
    decode_frequencies,
    encode,
    encode_answer,
    encode_policy,
    encode_refusal,
)
from orchestrator.errors import EndpointRefused
from orchestrator.monitor.link import reports
from orchestrator.monitor.process.allowance import MAX_BURST
from tests.conformance.guests import fresh_monitor
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    TURBO,
    InProcessMonitor,
    receive,
)
from tests.monitor.monitor_harness import monitor_harness

MAX, MIN = Unit.SCALE_MAX, Unit.SCALE_MIN
LOW, HIGH = encode(Request(0, MIN)), encode(Request(0, MAX))
ENDLESS = b"A" * 32
"""A name without a terminating zero."""


def _query(command: Command, name: bytes = b"", vcpu: int = 0) -> bytes:
    return encode_policy(PolicyPacket(command=command, vm_name=name, resource_id=vcpu))


def _two(monitor: InProcessMonitor) -> None:
    """Define a second domain, number 1, beside the one of `simple`."""
    monitor.define_group(1)
    monitor.hand_over(1)
    monitor.define_domain(1, groups=(1,))


@pytest.mark.parametrize("core_type", [1, 2, 255])
def test_s1_no_packet_controls_a_host_cpu(
    monitor: InProcessMonitor, core_type: int
) -> None:
    guest = monitor.simple()
    for packet in (
        encode(Request(0, MIN, core_type=core_type)),
        encode_policy(PolicyPacket(core_type=core_type, num_vcpu=1)),
    ):
        assert monitor.request(guest, packet) == encode_answer(packet, Answer.NACK)
    assert monitor.reasons() == {"physical": 2}
    refusals = monitor.reported_refusals()
    assert (monitor.frequency(), refusals) == (TURBO, [(0, "physical", 0, MIN)])


def test_s2_a_name_grants_no_access(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    _two(monitor)
    monitor.request(guest, LOW)
    reply = decode_frequencies(
        monitor.request(guest, _query(Command.QUERY_FREQ_LIST, b"domain-1"))
    )
    assert (reply.khz[0], reply.num_vcpu) == (LOWEST, 1)
    monitor.request(guest, encode_policy(PolicyPacket(vm_name=b"domain-1")))
    monitor.request(guest, _query(Command.PKT_POLICY_REMOVE, b"domain-1"))
    sent, removed = monitor.reports
    assert isinstance(sent, reports.PolicySent)
    assert (sent.uuid, removed) == ("0", reports.PolicyRemoved("0", 0, 1))


@given(st.integers(1, 2**64 - 1))
@example(2**32)  # 0 if only 32 bits are used
@example(2**16)
def test_s3_every_vcpu_s_number_is_checked(vcpu: int) -> None:
    with fresh_monitor() as monitor:
        guest, packet = monitor.simple(), encode(Request(vcpu, MIN))
        assert monitor.request(guest, packet) == encode_answer(packet, Answer.NACK)
        query = _query(Command.QUERY_FREQ, vcpu=vcpu)
        assert monitor.request(guest, query) == encode_refusal(Command.QUERY_FREQ)
        assert monitor.frequency() == TURBO


def test_s7_a_domain_with_many_vcpus_gets_replies_for_eight(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(groups=(0,) * 200)
    guest = monitor.adopt()
    frequencies = decode_frequencies(
        monitor.request(guest, _query(Command.QUERY_FREQ_LIST))
    )
    capabilities = decode_capabilities(
        monitor.request(guest, _query(Command.QUERY_CAPS_LIST))
    )
    assert (frequencies.num_vcpu, frequencies.khz) == (8, (TURBO,) * 8)
    assert (capabilities.num_vcpu, capabilities.turbo) == (8, (1,) * 8)


@pytest.mark.parametrize("command", range(7, 11))
def test_s8_a_reply_contains_no_memory_of_the_host(
    monitor: InProcessMonitor, command: int
) -> None:
    guest = monitor.simple()
    for _ in range(2):
        reply = bytearray(monitor.request(guest, _query(Command(command))))
        # The answer's code, the first entry, the number of vCPUs.
        for start, size in ((12, 4), (48, 8), (len(reply) - 8, 1)):
            reply[start : start + size] = bytes(size)
        assert not any(reply)
        monitor.define_domain(may_query=False)


def test_s9_an_unterminated_name_is_32_bytes(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    packet = LOW[:16] + ENDLESS + LOW[48:]
    assert monitor.request(guest, packet) == packet
    reply = decode_frequencies(
        monitor.request(guest, _query(Command.QUERY_FREQ, ENDLESS))
    )
    assert reply.vm_name == ENDLESS
    monitor.request(guest, encode_policy(PolicyPacket(vm_name=ENDLESS)))
    assert len(monitor.policies()) == 1


@pytest.mark.parametrize("name", [b"", b"nobody", ENDLESS])
def test_s10_s11_a_policy_belongs_to_its_sender_whatever_its_name(
    monitor: InProcessMonitor, name: bytes
) -> None:
    guest = monitor.simple()
    _two(monitor)
    monitor.request(guest, encode_policy(PolicyPacket(vm_name=name)))
    (sent,) = monitor.policies()
    assert (sent.uuid, sent.number) == ("0", 0)


def test_s13_a_flood_does_not_reach_main_or_the_log(
    monitor: InProcessMonitor, capfd: pytest.CaptureFixture[str]
) -> None:
    guest, policy = monitor.simple(), encode_policy(PolicyPacket())
    for _ in range(20):
        guest.sendall((LOW + HIGH) * 50 + policy * 20)
        monitor.run_until_idle()
        receive(guest)
    assert len(monitor.policies()) < MAX_BURST
    (refusals,) = monitor.reported_refusals()
    assert refusals[:2] == (0, "policies-too-many")
    assert capfd.readouterr() == ("", "")


def test_s13_a_guest_keeps_a_frequency_within_its_limits(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    monitor.define_domain(max_khz=MIDDLE)
    assert monitor.request(monitor.adopt(), HIGH) == HIGH
    assert monitor.frequency() == MIDDLE


def test_s14_the_listener_of_a_channel_must_be_trusted(tmp_path: Path) -> None:
    path = tmp_path / "domain.0"
    with socket.socket(socket.AF_UNIX) as imposter:
        imposter.bind(str(path))
        imposter.listen()
        with pytest.raises(EndpointRefused, match=f"user {os.getuid()} listens"):
            connect(str(path), trusted_uids=[os.getuid() + 1])


def test_s16_the_process_that_reads_guests_bytes_has_no_rights(tmp_path: Path) -> None:
    async def run() -> None:
        async with monitor_harness(tmp_path) as main:
            assert await main.simple().request(MIN) == "ACK"
            status = Path(f"/proc/{main.monitor.pid}/status").read_text()
        fields = dict(
            line.split(":\t") for line in status.splitlines() if ":\t" in line
        )
        uids = {int(uid) for uid in fields["Uid"].split()}
        assert 0 not in uids
        assert fields["NoNewPrivs"] == "1"
        assert int(fields["CapEff"], 16) == 0

    asyncio.run(run())
