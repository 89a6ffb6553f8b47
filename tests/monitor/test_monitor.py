# SPDX-License-Identifier: Apache-2.0
"""A real monitor process as seen by main and by guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.channel.protocol import (
    Request,
    Unit,
    encode,
    encode_connect,
)
from orchestrator.monitor.link.commands import (
    CloseChannel,
    ForgetDomain,
    SetPolicyVote,
    SwitchChannel,
    WithdrawVotes,
)
from orchestrator.values.domain import DomainId
from orchestrator.values.p_states import PortSteps, PStatePort
from orchestrator.values.refusal import Refusal
from tests.monitor.monitor_harness import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SIZE,
    TURBO,
    UUID,
    MonitorHarness,
    until,
    with_monitor,
)

if TYPE_CHECKING:
    from orchestrator.monitor.client.views import Counters

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


@with_monitor
async def test_a_guest_changes_the_frequency_of_its_cpu(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.send(encode_connect())
    await main.wait_for(events.TakeWanted(0))
    frequencies = []
    for unit in (ENABLE, DISABLE, UP, DOWN, MIN, MAX):
        assert await guest.request(unit) == "ACK"
        frequencies.append(main.frequency())
    assert frequencies == [TURBO, NOMINAL, NOMINAL, MIDDLE, LOWEST, NOMINAL]
    assert main.posted == [events.TakeWanted(0)]


@with_monitor
async def test_the_snapshot_shows_what_the_monitor_did(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.request(MIN)
    await guest.request(MAX, core_type=1)
    await until(lambda: main.counters().nacks == 1, "a refusal")
    seen = main.monitor.snapshot()
    assert seen.requested_khz == {(UUID, 0): LOWEST}
    assert seen.grants == {0: LOWEST}
    assert seen.refusals == {0: 0}
    assert list(seen.channels) == [(UUID, 0)]


@with_monitor
async def test_what_an_observed_guest_would_vote_for_is_known(
    main: MonitorHarness,
) -> None:
    main.add_group()
    main.define_domain(0, is_enforced=False)
    guest = main.open_channel()
    assert await guest.request(MIN) == "NACK"
    assert main.monitor.observed_votes() == {(UUID, 0): LOWEST}
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): None}
    assert main.monitor.snapshot().votes_khz == {(UUID, 0): LOWEST}
    main.monitor.send(SetPolicyVote(UUID, 0, MIDDLE))
    assert main.monitor.observed_votes() == {(UUID, 0): MIDDLE}
    main.define_domain(0)
    assert main.monitor.observed_votes() == {}


@with_monitor
async def test_what_the_driver_of_an_observed_guest_would_vote_for_is_known(
    main: MonitorHarness,
) -> None:
    main.add_group()
    main.define_domain(0, is_enforced=False)
    own = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=1, step_bits=4)
    port = main.open_channel(90, steps=PortSteps(own, ((TURBO, MIDDLE, LOWEST),)))
    await port.send(b"\x02")
    await until(lambda: bool(main.monitor.observed_votes()), "a noted request")
    assert main.monitor.observed_votes() == {(UUID, 0): LOWEST}
    assert main.monitor.snapshot().votes_khz == {(UUID, 0): LOWEST}
    # The higher one of both channels.
    await port.send(b"\x01")
    guest = main.open_channel()
    assert await guest.request(MIN) == "NACK"
    assert main.monitor.observed_votes() == {(UUID, 0): MIDDLE}


@with_monitor
async def test_votes_are_known_beside_what_they_become(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.send(encode_connect())
    await main.wait_for(events.TakeWanted(0))
    # A guest that is only present has requested nothing.
    assert main.monitor.snapshot().votes_khz == {(UUID, 0): None}
    await guest.request(MIN)
    assert main.monitor.snapshot().votes_khz == {(UUID, 0): LOWEST}
    main.monitor.send(SetPolicyVote(UUID, 0, MIDDLE))
    assert main.monitor.snapshot().votes_khz == {(UUID, 0): MIDDLE}


@with_monitor
async def test_forbidden_requests_are_refused(main: MonitorHarness) -> None:
    guest = main.simple()
    assert await guest.request(MIN, vcpu=1) == "NACK"
    assert await guest.request(MIN, vcpu=2**64 - 1) == "NACK"
    assert await guest.request(MIN, core_type=1) == "NACK"
    assert await guest.request(77) == "NACK"
    await main.wait_for(events.RequestRefused(UUID, 0, Refusal.UNIT, 0, 77))
    assert main.posted[:-1] == [
        events.RequestRefused(UUID, 0, Refusal.NO_VCPU, 1, MIN),
        events.RequestRefused(UUID, 0, Refusal.PHYSICAL, 0, MIN),
    ]
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): None}


@with_monitor
async def test_a_first_request_waits_for_its_group_to_be_taken(
    main: MonitorHarness,
) -> None:
    main.is_taking = False
    guest = main.simple()
    await guest.send(encode(Request(0, MIN)))
    await main.wait_for(events.TakeWanted(0))
    main.take()
    await until(lambda: main.frequency() == LOWEST, "the frequency")
    # Within 8 ms it is answered, later it is dropped.
    await until(lambda: sum(_done(main.counters())) == 1, "the outcome of the answer")
    assert main.counters().requests == 1


def _done(counters: Counters) -> tuple[int, int]:
    return counters.acks, counters.late


@with_monitor
async def test_an_operator_s_override_takes_precedence_over_a_guest(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.request(MIN)
    main.monitor.send(main.group(override_khz=MIDDLE))
    await until(lambda: main.frequency() == MIDDLE, "the override")
    assert await guest.request(MAX) == "NACK"
    main.monitor.send(main.group())
    await until(lambda: main.frequency() == TURBO, "the guest's frequency")


@with_monitor
async def test_channels_are_disabled_and_enabled(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.request(MIN)
    main.monitor.send(SwitchChannel(UUID, 0, is_enabled=False))
    await until(lambda: main.frequency() == TURBO, "the end of the vote")
    assert await guest.request(MIN) == "NACK"
    main.monitor.send(CloseChannel(UUID, 0))
    assert await guest.receive() == b""
    again = main.open_channel()
    assert await again.request(MIN) == "NACK"
    main.monitor.send(SwitchChannel(UUID, 0, is_enabled=True))
    # A request may overtake main's command, which uses another socket.
    while await again.request(MIN) == "NACK":
        pass
    assert main.frequency() == LOWEST
    assert events.EndpointClosed(UUID, 0, "hung up") not in main.posted


@with_monitor
async def test_votes_are_withdrawn_and_a_domain_forgotten(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.request(MIN)
    main.monitor.send(WithdrawVotes(UUID, 0))
    await until(lambda: main.frequency() == TURBO, "the highest step")
    await guest.request(MIN)
    main.monitor.send(ForgetDomain(UUID))
    await until(lambda: main.frequency() == TURBO, "the highest step")
    assert await guest.receive() == b""
    assert main.monitor.snapshot().channels == {}


@with_monitor
async def test_counters_continue_over_a_new_connection_until_the_domain_is_off(
    main: MonitorHarness,
) -> None:
    await main.simple().request(77)
    await until(lambda: main.counters().nacks == 1, "a refusal")
    main.monitor.send(CloseChannel(UUID, 0))
    await main.open_channel().request(77)
    await until(lambda: main.counters().nacks == 2, "another refusal")
    main.monitor.send(ForgetDomain(UUID))
    main.define_domain(0)
    await main.open_channel().request(77)
    await until(lambda: main.counters().nacks == 1, "the first of the next run")


# Guests that misbehave


@with_monitor
async def test_a_guest_that_never_reads_is_served_ten_thousand_times(
    main: MonitorHarness,
) -> None:
    main.add_group()
    main.define_domain(0, 0)
    silent, other = main.open_channel(0), main.open_channel(1)
    await silent.request(MIN)
    packets = encode(Request(0, MAX)) + encode(Request(0, MIN))
    for index in range(10_000):
        # One at a time, as a guest does: a socket takes each packet whole.
        at = index % 2 * SIZE
        await silent.send(packets[at : at + SIZE])
    assert await other.request(MIN, vcpu=1) == "ACK"
    await until(lambda: main.counters().requests >= 10_001, "all requests")
    seen = main.counters()
    assert seen.nacks == seen.errors == 0
    assert seen.dropped + seen.late > 9_000
    # Only whole packets were sent, and the stream continues after them.
    given = seen.acks - 1
    data = await silent.receive(given * SIZE)
    assert {data[i : i + SIZE] for i in range(0, len(data), SIZE)} == {
        packets[:SIZE],
        packets[SIZE:],
    }
    assert await silent.request(MIN) == "ACK"


@with_monitor
async def test_garbage_costs_a_guest_only_the_garbage(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.send(b"\xff" * (20 * SIZE + 100))
    await until(lambda: main.counters().errors > 0, "the garbage")
    assert await guest.request(MIN) == "ACK"
    assert main.posted == [events.TakeWanted(0)]


@with_monitor
async def test_a_name_in_a_packet_does_not_affect_another_domain(
    main: MonitorHarness,
) -> None:
    other = DomainId("00000000-0000-0000-0000-000000000002")
    main.add_group(0)
    main.add_group(1)
    main.define_domain(0)
    main.define_domain(1, uuid=other)
    victim = main.open_channel(uuid=other)
    await victim.request(MAX)
    spoof = bytearray(encode(Request(0, MIN)))
    spoof[16:48] = other.encode()[:32]
    guest = main.open_channel()
    await guest.request(MAX)
    await guest.send(bytes(spoof))
    await until(lambda: main.frequency(0) == LOWEST, "its own frequency")
    assert main.frequency(1) == TURBO


@with_monitor
async def test_a_guest_that_hangs_up_is_reported_and_its_vote_ends(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.request(MIN)
    guest.close()
    await main.wait_for(events.EndpointClosed(UUID, 0, "hung up"))
    await until(lambda: main.frequency() == TURBO, "the highest step")
    assert main.counters().acks >= 1


@with_monitor
async def test_the_end_of_an_earlier_endpoint_does_not_end_the_current_one(
    main: MonitorHarness,
) -> None:
    earlier = main.simple()
    await earlier.request(MIN)
    earlier.close()
    main.monitor.send(CloseChannel(UUID, 0))
    guest = main.open_channel()
    assert await guest.request(MIN) == "ACK"
    assert main.posted == [events.TakeWanted(0)]
