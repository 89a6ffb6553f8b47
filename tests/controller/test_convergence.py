# SPDX-License-Identifier: Apache-2.0
"""Whatever happens, in whatever order: in the end the picture is the host."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import events as e
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.controller.records import CONNECTED_STATES
from orchestrator.values.domain import DomainState
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain, topology, vcpu
from tests.properties import examples

NAMES = ["a", "b", "c"]
HAPPENINGS = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(NAMES)),
    st.tuples(st.just("stop"), st.sampled_from(NAMES)),
    st.tuples(st.just("pause"), st.sampled_from(NAMES)),
    st.tuples(st.just("undefine"), st.sampled_from(NAMES)),
    st.tuples(st.just("repin"), st.sampled_from(NAMES), st.integers(0, 7)),
    st.tuples(st.just("monitor dies")),
    st.tuples(st.just("libvirt restarts")),
    st.tuples(st.just("cpu offline"), st.integers(0, 7)),
    st.tuples(st.just("vote"), st.integers(0, 7)),
    st.tuples(st.just("yield"), st.integers(0, 7)),
    st.tuples(st.just("override"), st.integers(0, 7)),
    st.tuples(st.just("resync")),
    st.tuples(st.just("settle")),
)


def apply(host: SimulatedHost, happening: tuple[object, ...], runs: list[int]) -> None:
    match happening:
        case ("start", str(name)):
            runs.append(len(runs) + 1)
            spec = domain(name, run=runs[-1])
            host.domains[spec.uuid] = spec
            host.react(e.DomainChanged(spec.uuid))
        case ("stop", str(name)):
            spec = domain(name, state=DomainState.SHUTOFF, run=-1)
            host.domains[spec.uuid] = spec
            host.react(e.DomainChanged(spec.uuid))
        case ("pause", str(name)) if domain(name).uuid in host.domains:
            uuid = domain(name).uuid
            if host.domains[uuid].state is DomainState.RUNNING:
                paused = replace(host.domains[uuid], state=DomainState.PAUSED)
                host.domains[uuid] = paused
            host.react(e.DomainChanged(uuid))
        case ("undefine", str(name)):
            host.domains.pop(domain(name).uuid, None)
            host.react(e.DomainChanged(domain(name).uuid))
        case ("repin", str(name), int(pcpu)) if domain(name).uuid in host.domains:
            uuid = domain(name).uuid
            pinned = (vcpu(0, pcpu), vcpu(1, (pcpu + 1) % 8))
            host.domains[uuid] = replace(host.domains[uuid], vcpus=pinned)
            host.react(e.DomainChanged(uuid))
        case _:
            apply_to_host(host, happening)


def apply_to_host(host: SimulatedHost, happening: tuple[object, ...]) -> None:
    match happening:
        case ("monitor dies",) if host.inventory.is_monitor_up:
            host.is_monitor_up = False
            host.open_channels.clear()
            host.react(e.MonitorDied(-9))
        case ("libvirt restarts",):
            host.react(e.LibvirtLost("eof", "2026-01-01T00:00:00+00:00"))
            host.react(e.LibvirtConnected())
        case ("cpu offline", int(pcpu)):
            host.topology = topology(offline=[pcpu])
            host.react(e.ResyncDue())
        case ("vote", int(group)):
            # The monitor asks only for groups that were defined in it.
            known = host.inventory.groups.get(group)
            if known and host.inventory.is_monitor_up:
                host.react(e.TakeWanted(group))
        case ("yield", int(group)):
            # The monitor yields only what it has, and nothing with an override.
            known = host.inventory.groups.get(group)
            if known and known.override_khz is None:
                host.react(e.GroupYielded(group))
        case ("override", int(group)) if group in host.inventory.groups:
            host.react(e.OverrideSet(group, 2_000_000))
        case ("resync",):
            host.react(e.ResyncDue())
        case ("settle",):
            host.settle()
        case _:
            pass  # it cannot happen in this state


@given(st.lists(HAPPENINGS, max_size=25), st.lists(st.integers(0, 50), max_size=40))
@settings(max_examples=examples(300), deadline=None)
def test_any_order_of_events_ends_in_the_right_picture(
    happenings: list[tuple[object, ...]], order: list[int]
) -> None:
    host = SimulatedHost()
    host.start()
    runs = [1]
    choices = iter(order)
    for happening in happenings:
        apply(host, happening, runs)
    host.settle(lambda _count: next(choices, 0))
    host.react(e.ResyncDue(), e.LibvirtConnected())
    host.settle()

    assert set(host.inventory.domains) == set(host.domains)
    expected = {
        (spec.uuid, c.number)
        for spec in host.domains.values()
        if spec.state.is_active
        for c in spec.channels
    }
    assert host.open_channels == expected
    for uuid, record in host.inventory.domains.items():
        connected = {
            (uuid, n) for n, c in record.channels.items() if c.state in CONNECTED_STATES
        }
        assert connected == {key for key in expected if key[0] == uuid}
    for number, group in host.inventory.groups.items():
        assert group.stage in (
            GroupStage.IDLE,
            GroupStage.PREPARED,
            GroupStage.TAKEN,
        )
        assert (number in host.held_groups) == (group.stage is not GroupStage.IDLE)
        assert (number in host.taken_groups) == (group.stage is GroupStage.TAKEN)
        if host.inventory.is_needed(number):
            assert group.stage is not GroupStage.IDLE
