"""What main and guests see of a real monitor process."""

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
    SwitchChannel,
    WithdrawVotes,
)
from orchestrator.values.domain import DomainId
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
async def test_a_guest_changes_the_clock_of_its_cpu(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.send(encode_connect())
    await main.hear(events.TakeWanted(0))
    clocks = []
    for unit in (ENABLE, DISABLE, UP, DOWN, MIN, MAX):
        assert await guest.ask(unit) == "ACK"
        clocks.append(main.clock())
    assert clocks == [TURBO, NOMINAL, NOMINAL, MIDDLE, LOWEST, NOMINAL]
    assert main.heard == [events.TakeWanted(0)]


@with_monitor
async def test_the_snapshot_says_what_the_monitor_did(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    await guest.ask(MAX, core_type=1)
    await until(lambda: main.counters().nacks == 1, "a refusal")
    seen = main.monitor.snapshot()
    assert seen.wishes == {(UUID, 0): LOWEST}
    assert seen.grants == {0: LOWEST}
    assert seen.refusals == {0: 0}
    assert list(seen.channels) == [(UUID, 0)]


@with_monitor
async def test_what_a_guest_may_not_ask_is_refused(main: MonitorHarness) -> None:
    guest = main.simple()
    assert await guest.ask(MIN, vcpu=1) == "NACK"
    assert await guest.ask(MIN, vcpu=2**64 - 1) == "NACK"
    assert await guest.ask(MIN, core_type=1) == "NACK"
    assert await guest.ask(77) == "NACK"
    await main.hear(events.RequestRefused(UUID, 0, Refusal.UNIT, 0, 77))
    assert main.heard[:-1] == [
        events.RequestRefused(UUID, 0, Refusal.NO_VCPU, 1, MIN),
        events.RequestRefused(UUID, 0, Refusal.PHYSICAL, 0, MIN),
    ]
    assert main.monitor.snapshot().wishes == {(UUID, 0): None}


@with_monitor
async def test_a_first_request_waits_for_its_group_to_be_taken(
    main: MonitorHarness,
) -> None:
    main.is_taking = False
    guest = main.simple()
    await guest.send(encode(Request(0, MIN)))
    await main.hear(events.TakeWanted(0))
    main.take()
    await until(lambda: main.clock() == LOWEST, "the clock")
    # Within 8 ms it is answered, later it is not.
    await until(lambda: sum(_done(main.counters())) == 1, "the answer's fate")
    assert main.counters().requests == 1


def _done(counters: Counters) -> tuple[int, int]:
    return counters.acks, counters.late


@with_monitor
async def test_an_operator_s_clock_holds_against_a_guest(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    main.monitor.send(main.group(override_khz=MIDDLE))
    await until(lambda: main.clock() == MIDDLE, "the operator's clock")
    assert await guest.ask(MAX) == "NACK"
    main.monitor.send(main.group())
    await until(lambda: main.clock() == TURBO, "the guest's clock")


@with_monitor
async def test_channels_are_switched_off_and_on(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    main.monitor.send(SwitchChannel(UUID, 0, is_enabled=False))
    await until(lambda: main.clock() == TURBO, "the end of the vote")
    assert await guest.ask(MIN) == "NACK"
    main.monitor.send(CloseChannel(UUID, 0))
    assert await guest.receive() == b""
    again = main.open_channel()
    assert await again.ask(MIN) == "NACK"
    main.monitor.send(SwitchChannel(UUID, 0, is_enabled=True))
    # A request may overtake main's word: it comes by another socket.
    while await again.ask(MIN) == "NACK":
        pass
    assert main.clock() == LOWEST
    assert events.EndpointClosed(UUID, 0, "hung up") not in main.heard


@with_monitor
async def test_votes_are_withdrawn_and_a_domain_forgotten(main: MonitorHarness) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    main.monitor.send(WithdrawVotes(UUID, 0))
    await until(lambda: main.clock() == TURBO, "the highest step")
    await guest.ask(MIN)
    main.monitor.send(ForgetDomain(UUID))
    await until(lambda: main.clock() == TURBO, "the highest step")
    assert await guest.receive() == b""
    assert main.monitor.snapshot().channels == {}


@with_monitor
async def test_counters_go_on_over_a_new_connection_until_the_domain_is_off(
    main: MonitorHarness,
) -> None:
    await main.simple().ask(77)
    await until(lambda: main.counters().nacks == 1, "a refusal")
    main.monitor.send(CloseChannel(UUID, 0))
    await main.open_channel().ask(77)
    await until(lambda: main.counters().nacks == 2, "another refusal")
    main.monitor.send(ForgetDomain(UUID))
    main.define_domain(0)
    await main.open_channel().ask(77)
    await until(lambda: main.counters().nacks == 1, "the first of the next run")


# Guests that misbehave


@with_monitor
async def test_a_guest_that_never_reads_is_served_ten_thousand_times(
    main: MonitorHarness,
) -> None:
    main.offer()
    main.define_domain(0, 0)
    deaf, other = main.open_channel(0), main.open_channel(1)
    await deaf.ask(MIN)
    packets = (encode(Request(0, MAX)) + encode(Request(0, MIN))) * 50
    for _ in range(100):
        await deaf.send(packets)
    assert await other.ask(MIN, vcpu=1) == "ACK"
    await until(lambda: main.counters().requests >= 10_001, "all requests")
    seen = main.counters()
    assert seen.nacks == seen.errors == 0
    assert seen.dropped + seen.late > 9_000
    # What had been given is whole packets, and the stream goes on behind it.
    given = seen.acks - 1
    data = await deaf.receive(given * SIZE)
    assert {data[i : i + SIZE] for i in range(0, len(data), SIZE)} == {
        packets[:SIZE],
        packets[SIZE : 2 * SIZE],
    }
    assert await deaf.ask(MIN) == "ACK"


@with_monitor
async def test_garbage_costs_a_guest_no_more_than_the_garbage(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.send(b"\xff" * (20 * SIZE + 100))
    await until(lambda: main.counters().errors > 0, "the garbage")
    assert await guest.ask(MIN) == "ACK"
    assert main.heard == [events.TakeWanted(0)]


@with_monitor
async def test_a_name_in_a_packet_moves_nobody_else_s_clock(
    main: MonitorHarness,
) -> None:
    other = DomainId("00000000-0000-0000-0000-000000000002")
    main.offer(0)
    main.offer(1)
    main.define_domain(0)
    main.define_domain(1, uuid=other)
    victim = main.open_channel(uuid=other)
    await victim.ask(MAX)
    spoof = bytearray(encode(Request(0, MIN)))
    spoof[16:48] = other.encode()[:32]
    guest = main.open_channel()
    await guest.ask(MAX)
    await guest.send(bytes(spoof))
    await until(lambda: main.clock(0) == LOWEST, "its own clock")
    assert main.clock(1) == TURBO


@with_monitor
async def test_a_guest_that_hangs_up_is_reported_and_its_vote_ends(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    await guest.ask(MIN)
    guest.close()
    await main.hear(events.EndpointClosed(UUID, 0, "hung up"))
    await until(lambda: main.clock() == TURBO, "the highest step")
    assert main.counters().acks >= 1


@with_monitor
async def test_the_end_of_an_earlier_endpoint_is_not_taken_for_the_present_one(
    main: MonitorHarness,
) -> None:
    earlier = main.simple()
    await earlier.ask(MIN)
    earlier.close()
    main.monitor.send(CloseChannel(UUID, 0))
    guest = main.open_channel()
    assert await guest.ask(MIN) == "ACK"
    assert main.heard == [events.TakeWanted(0)]
