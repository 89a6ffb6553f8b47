# SPDX-License-Identifier: Apache-2.0
"""What a domain costs does not depend on how many others share its clock groups.

Calls of Python functions are counted, not seconds: they are the same on a busy machine.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.values.domain import DomainState
from orchestrator.values.domain_settings import DomainSettings
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, domain

if TYPE_CHECKING:
    from types import FrameType

FEW, MANY = 4, 60
SPEC = domain("restarted")


def beside(number: int, *, is_taken: bool = False) -> SimulatedHost:
    """Return a host whose domains are all pinned to the same two CPUs."""
    specs = [SPEC, *(domain(f"other-{other}") for other in range(number))]
    host = SimulatedHost(domains={spec.uuid: spec for spec in specs})
    host.start()
    host.settle()
    if is_taken:
        host.react(e.TakeWanted(0), e.TakeWanted(1))
        host.settle()
    return host


def count_calls(host: SimulatedHost, *happened: e.Event) -> int:
    calls = 0

    def count(_frame: FrameType, what: str, _argument: object) -> None:
        nonlocal calls
        calls += what == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for event in happened:
            host.controller.react(event)
    finally:
        sys.setprofile(before)
    return calls


CLOSED = [e.EndpointClosed(SPEC.uuid, number, "hung up") for number in (0, 1)]
SHUT_OFF = e.DomainDescribed(
    replace(SPEC, state=DomainState.SHUTOFF, run=-1, live=None), NOW_NS
)
STARTED: list[e.Event] = [
    e.DomainDescribed(replace(SPEC, run=2), NOW_NS),
    *(
        e.ChannelConnected(SPEC.uuid, channel.number, channel.path or "")
        for channel in SPEC.channels
    ),
]


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_restart_costs_the_same_beside_many_domains(*, is_taken: bool) -> None:
    costs = []
    for number in (FEW, MANY):
        host = beside(number, is_taken=is_taken)
        costs.append(count_calls(host, *CLOSED, SHUT_OFF, *STARTED))
    assert costs[1] <= 1.2 * costs[0]


@pytest.mark.parametrize("is_taken", [False, True])
def test_the_last_domains_of_a_storm_cost_the_same(*, is_taken: bool) -> None:
    costs = []
    for number in (FEW, MANY):
        host = beside(number, is_taken=is_taken)
        for uuid in host.domains:
            if uuid != SPEC.uuid:
                ended = (e.EndpointClosed(uuid, n, "hung up") for n in (0, 1))
                host.react(*ended)
        host.react(*CLOSED)
        costs.append(count_calls(host, SHUT_OFF, STARTED[0]))
    assert costs[1] <= 1.2 * costs[0]


def test_limits_of_one_domain_of_many_count_until_it_stops() -> None:
    host = beside(FEW)
    for spec in list(host.domains.values())[1:]:
        host.react(
            e.DomainDescribed(replace(spec, state=DomainState.SHUTOFF, run=-1), NOW_NS)
        )
    limited = replace(SPEC, settings=DomainSettings(max_khz=KHz(2_000_000)))
    host.react(e.DomainDescribed(limited, NOW_NS))
    assert host.inventory.groups[0].held.max_khz == 2_000_000
    host.react(e.DomainDescribed(SPEC, NOW_NS))
    assert host.inventory.groups[0].held.max_khz > 2_000_000
