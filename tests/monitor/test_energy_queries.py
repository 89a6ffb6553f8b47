# SPDX-License-Identifier: Apache-2.0
"""Queries of energy: a guest reads what its own domain draws and saves."""

from __future__ import annotations

import pytest

from orchestrator.channel.protocol import (
    ENERGY_REPLY,
    GENERATION_16,
    GENERATION_456,
    GENERATION_460,
    GENERATION_464,
    Command,
    EnergyFigures,
    FigureSource,
    Generation,
    PolicyPacket,
    Request,
    Unit,
    decode_energy,
    encode,
    encode_energy_refusal,
    encode_policy,
)
from orchestrator.monitor.link.commands import ForgetDomain
from orchestrator.monitor.process.queries import FIGURES_VALID_NS
from orchestrator.values.domain import DomainId
from tests.monitor.in_process_monitor import InProcessMonitor, ack
from tests.monitor.monitor_harness import UUID, MonitorHarness, with_monitor

FIGURES = EnergyFigures(
    drawn_uj=7_200_000_000_000,
    drawn_error_uj=2**62,
    saved_uj=-1,
    saved_error_uj=4,
    power_uw=5_000_000,
    power_error_uw=6,
    saved_uw=-(2**62),
    saved_error_uw=8,
    duration_ms=9,
    source=FigureSource.MODELLED,
)
OTHERS = FIGURES._replace(drawn_uj=1, source=FigureSource.MEASURED)
NAME = b"ubuntu2"
REFUSAL = encode_energy_refusal(vm_name=NAME)


def query(generation: Generation = GENERATION_464, vcpu: int = 0) -> bytes:
    if generation.policy is None:
        return encode(Request(vcpu, 0, Command.QUERY_ENERGY), generation)
    packet = PolicyPacket(resource_id=vcpu, command=Command.QUERY_ENERGY, vm_name=NAME)
    return encode_policy(packet, generation)


def test_a_guest_reads_the_figures_of_its_own_domain(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    for number in (0, 1):
        monitor.define_domain(number)
    guests = [monitor.adopt(number) for number in (0, 1)]
    monitor.write_energy(FIGURES, 0)
    monitor.write_energy(OTHERS, 1)
    replies = [monitor.request(guest, query()) for guest in guests]
    assert [decode_energy(reply) for reply in replies] == [FIGURES, OTHERS]
    assert [reply[16:48] for reply in replies] == [NAME.ljust(32, b"\0")] * 2
    assert monitor.counts() == {"acks": 1}


def test_the_vcpu_of_the_query_does_not_matter(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.write_energy(FIGURES)
    for vcpu in (1, 100, 2**64 - 1):
        assert decode_energy(monitor.request(guest, query(vcpu=vcpu))) == FIGURES


def test_observed_domains_and_paused_ones_are_answered(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.define_domain(is_enforced=False, is_executing=False)
    monitor.write_energy(FIGURES)
    assert decode_energy(monitor.request(guest, query())) == FIGURES


def test_the_reply_is_the_same_for_guests_of_32_bits(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.define_domain(generation=460)
    monitor.write_energy(FIGURES)
    reply = monitor.request(guest, query(GENERATION_460))
    assert decode_energy(reply) == FIGURES


@pytest.mark.parametrize("generation", [GENERATION_16, GENERATION_456])
def test_guests_that_read_no_answers_get_none(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    monitor.define_domain(generation=generation.size_bytes)
    monitor.write_energy(FIGURES)
    assert monitor.request(guest, query(generation)) == b""
    assert monitor.counts() == {"errors": 1}


def test_without_permission_it_is_refused(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.define_domain(may_query_energy=False)
    monitor.write_energy(FIGURES)
    assert monitor.request(guest, query()) == REFUSAL
    assert monitor.reasons() == {"energy-forbidden": 1}
    monitor.define_domain(may_query=False)
    assert decode_energy(monitor.request(guest, query())) == FIGURES


def test_on_a_disabled_channel_it_is_refused(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.define_domain()
    guest = monitor.adopt(is_enabled=False)
    monitor.write_energy(FIGURES)
    assert monitor.request(guest, query()) == REFUSAL
    assert monitor.reasons() == {"disabled": 1}


def test_what_is_not_accounted_is_refused(monitor: InProcessMonitor) -> None:
    """Not yet, and not any more."""
    guest = monitor.simple()
    assert monitor.request(guest, query()) == REFUSAL
    monitor.write_energy(FIGURES)
    monitor.now_ns += FIGURES_VALID_NS
    assert decode_energy(monitor.request(guest, query())) == FIGURES
    monitor.now_ns += 1
    assert monitor.request(guest, query()) == REFUSAL
    assert monitor.reasons() == {"energy-unknown": 2}
    assert [it[1] for it in monitor.reported_refusals()] == ["energy-unknown"]


def test_replies_are_in_the_order_of_the_requests(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.write_energy(FIGURES)
    change = encode(Request(0, Unit.SCALE_MIN))
    replies = monitor.request(guest, change + query() + change)
    echo = ack(0, Unit.SCALE_MIN)
    assert replies.startswith(echo)
    assert replies.endswith(echo)
    assert decode_energy(replies[len(echo) : -len(echo)]) == FIGURES


@with_monitor
async def test_main_writes_what_the_monitor_replies(main: MonitorHarness) -> None:
    async def ask() -> bytes:
        return await guest.exchange(query(), ENERGY_REPLY.size)

    guest = main.simple()
    assert await ask() == REFUSAL
    main.monitor.write_energy(UUID, FIGURES)
    assert decode_energy(await ask()) == FIGURES
    main.monitor.write_energy(UUID, OTHERS)
    assert decode_energy(await ask()) == OTHERS


@with_monitor
async def test_a_domain_that_is_defined_again_begins_without_figures(
    main: MonitorHarness,
) -> None:
    main.simple()
    main.monitor.write_energy(UUID, FIGURES)
    main.monitor.send(ForgetDomain(UUID))
    main.define_domain(0)
    guest = main.open_channel()
    assert await guest.exchange(query(), ENERGY_REPLY.size) == REFUSAL
    # Nothing is written for a domain that the monitor does not know.
    main.monitor.write_energy(DomainId("another"), FIGURES)
