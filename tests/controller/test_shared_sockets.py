# SPDX-License-Identifier: Apache-2.0
"""Channels whose socket other channels name, too: none of them is connected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.controller import actions as a
from orchestrator.controller.guest_ports import PORT_STATE_LAGS_NS
from orchestrator.values.domain import DomainState
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, channel, domain

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainSpec

PATH = "/run/pm/edge.0"


def edge(name: str, path: str = PATH, socket: str | None = None) -> DomainSpec:
    return domain(name, channels=(channel(0, path, socket=socket),))


def off(spec: DomainSpec) -> DomainSpec:
    return replace(spec, state=DomainState.SHUTOFF, run=-1, live=None)


def started(*specs: DomainSpec) -> SimulatedHost:
    host = SimulatedHost(domains={spec.uuid: spec for spec in specs})
    host.start()
    host.settle()
    return host


def redescribe(host: SimulatedHost, spec: DomainSpec) -> None:
    host.domains[spec.uuid] = spec
    host.react(e.DomainDescribed(spec, NOW_NS + 2 * PORT_STATE_LAGS_NS))
    host.settle()


def state(host: SimulatedHost, spec: DomainSpec, number: int = 0) -> tuple[str, str]:
    record = host.inventory.channel(spec.uuid, number)
    assert record
    return str(record.state), record.reason


def same_as(other: str) -> tuple[str, str]:
    return "refused", f"{other} has the same socket path {PATH}"


def assert_only_named(host: SimulatedHost, one: DomainSpec, two: DomainSpec) -> None:
    assert host.open_channels == set()
    assert state(host, one) == same_as(f"channel 0 of domain {two.name}")
    assert state(host, two) == same_as(f"channel 0 of domain {one.name}")


def test_two_domains_with_one_path_are_not_connected_and_name_each_other() -> None:
    one, two = edge("edge"), edge("edge-clone")
    host = started(one, two)
    assert_only_named(host, one, two)
    warned = [it for it in host.reports if it.severity is a.Severity.WARNING]
    assert {it.domain for it in warned} == {"edge", "edge-clone"}


def test_of_three_domains_with_one_path_each_names_both_others() -> None:
    one, two, three = edge("edge"), edge("edge-clone"), edge("edge-third")
    host = started(one, two, three)
    _, reason = state(host, one)
    assert reason.startswith("channel 0 of domain edge-")
    assert " and channel 0 of domain edge-" in reason
    assert reason.endswith(f" have the same socket path {PATH}")


def test_a_domain_that_starts_with_the_path_of_another_closes_that_channel() -> None:
    one, two = edge("edge"), edge("edge-clone")
    host = started(one, off(two))
    assert host.open_channels == {(one.uuid, 0)}
    redescribe(host, two)
    assert_only_named(host, one, two)


@pytest.mark.parametrize("socket", [None, "77:1"])
def test_links_to_one_directory_lead_to_one_socket(socket: str | None) -> None:
    one = edge("edge", "/run/pm/edge.0", socket)
    two = edge("edge-clone", "/var/run/pm/edge.0", socket)
    host = started(one, two)
    assert bool(host.open_channels) is (socket is None)


def test_the_remaining_domain_is_connected_when_the_other_stops() -> None:
    one, two = edge("edge"), edge("edge-clone")
    host = started(one, two)
    redescribe(host, off(one))
    assert host.open_channels == {(two.uuid, 0)}
    assert state(host, one)[0] == "absent"
    redescribe(host, one)
    assert_only_named(host, one, two)


def test_the_remaining_domain_is_connected_when_the_other_is_gone() -> None:
    one, two = edge("edge"), edge("edge-clone")
    host = started(one, two)
    del host.domains[two.uuid]
    host.react(e.DomainVanished(two.uuid))
    host.settle()
    assert host.open_channels == {(one.uuid, 0)}
    assert host.inventory.channels_at == {PATH: {(one.uuid, 0)}}


def test_both_are_connected_when_one_gets_another_path() -> None:
    one, two = edge("edge"), edge("edge-clone")
    host = started(one, two)
    redescribe(host, edge("edge-clone", "/run/pm/edge-clone.0"))
    assert host.open_channels == {(one.uuid, 0), (two.uuid, 0)}


def test_the_remaining_domain_is_connected_when_the_other_loses_its_channel() -> None:
    one, two = edge("edge"), edge("edge-clone")
    host = started(one, two)
    redescribe(host, domain("edge-clone", channels=()))
    assert host.open_channels == {(one.uuid, 0)}


def test_two_channels_of_one_domain_with_one_path_are_not_connected() -> None:
    spec = domain("edge", channels=(channel(0, PATH), channel(1, PATH)))
    host = started(spec)
    assert host.open_channels == set()
    assert state(host, spec, 1) == same_as("channel 0 of this domain")


def test_neither_a_resync_nor_a_new_monitor_nor_a_restart_connects_them() -> None:
    one, two = edge("edge"), edge("edge-clone")
    host = started(one, two)
    host.react(e.ResyncDue())
    host.settle()
    host.react(e.MonitorDied(1))
    host.settle()
    redescribe(host, replace(two, run=2))
    host.react(e.ChannelSwitched(one.uuid, 0, is_enabled=False, by="uid 0"))
    host.react(e.ChannelSwitched(one.uuid, 0, is_enabled=True, by="uid 0"))
    host.settle()
    assert_only_named(host, one, two)


def test_an_attempt_that_was_under_way_does_not_open_the_channel() -> None:
    one, two = edge("edge"), edge("edge-clone")
    host = SimulatedHost(domains={one.uuid: one, two.uuid: two})
    host.is_monitor_up = True
    host.react(e.TopologyRead(host.topology), e.MonitorStarted())
    host.react(e.DomainDescribed(one, NOW_NS))
    host.react(e.DomainDescribed(two, NOW_NS))
    host.react(e.ChannelConnected(one.uuid, 0, PATH))
    record = host.inventory.channel(one.uuid, 0)
    assert record
    assert record.state is ChannelState.REFUSED
