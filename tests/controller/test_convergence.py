"""Whatever happens, in whatever order: in the end the picture is the world."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import events as e
from orchestrator.domain import DomainState
from orchestrator.inventory import CONNECTED_STATES, GroupStage
from tests.controller.specs import domain, topology, vcpu
from tests.controller.world import World

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


def apply(world: World, happening: tuple[object, ...], runs: list[int]) -> None:
    match happening:
        case ("start", str(name)):
            runs.append(len(runs) + 1)
            spec = domain(name, run=runs[-1])
            world.domains[spec.uuid] = spec
            world.tell(e.DomainChanged(spec.uuid))
        case ("stop", str(name)):
            spec = domain(name, state=DomainState.SHUTOFF, run=-1)
            world.domains[spec.uuid] = spec
            world.tell(e.DomainChanged(spec.uuid))
        case ("pause", str(name)) if domain(name).uuid in world.domains:
            uuid = domain(name).uuid
            if world.domains[uuid].state is DomainState.RUNNING:
                paused = replace(world.domains[uuid], state=DomainState.PAUSED)
                world.domains[uuid] = paused
            world.tell(e.DomainChanged(uuid))
        case ("undefine", str(name)):
            world.domains.pop(domain(name).uuid, None)
            world.tell(e.DomainChanged(domain(name).uuid))
        case ("repin", str(name), int(pcpu)) if domain(name).uuid in world.domains:
            uuid = domain(name).uuid
            pinned = (vcpu(0, pcpu), vcpu(1, (pcpu + 1) % 8))
            world.domains[uuid] = replace(world.domains[uuid], vcpus=pinned)
            world.tell(e.DomainChanged(uuid))
        case _:
            apply_to_host(world, happening)


def apply_to_host(world: World, happening: tuple[object, ...]) -> None:
    match happening:
        case ("monitor dies",) if world.inventory.is_monitor_up:
            world.is_monitor_up = False
            world.open_channels.clear()
            world.tell(e.MonitorDied(-9))
        case ("libvirt restarts",):
            world.tell(e.LibvirtLost("eof", "2026-01-01T00:00:00+00:00"))
            world.tell(e.LibvirtConnected())
        case ("cpu offline", int(pcpu)):
            world.topology = topology(offline=[pcpu])
            world.tell(e.ResyncDue())
        case ("vote", int(group)):
            # The monitor asks only for groups that it was told about.
            known = world.inventory.groups.get(group)
            if known and world.inventory.is_monitor_up:
                world.tell(e.TakeWanted(group))
        case ("yield", int(group)):
            # The monitor yields only what it has, and nothing with an override.
            known = world.inventory.groups.get(group)
            if known and known.override_khz is None:
                world.tell(e.GroupYielded(group))
        case ("override", int(group)) if group in world.inventory.groups:
            world.tell(e.OverrideSet(group, 2_000_000))
        case ("resync",):
            world.tell(e.ResyncDue())
        case ("settle",):
            world.settle()
        case _:
            pass  # it cannot happen in this state


@given(st.lists(HAPPENINGS, max_size=25), st.lists(st.integers(0, 50), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_order_of_events_ends_in_the_right_picture(
    happenings: list[tuple[object, ...]], order: list[int]
) -> None:
    world = World()
    world.start()
    runs = [1]
    choices = iter(order)
    for happening in happenings:
        apply(world, happening, runs)
    world.settle(lambda _count: next(choices, 0))
    world.tell(e.ResyncDue(), e.LibvirtConnected())
    world.settle()

    assert set(world.inventory.domains) == set(world.domains)
    expected = {
        (spec.uuid, c.number)
        for spec in world.domains.values()
        if spec.state.is_active
        for c in spec.channels
    }
    assert world.open_channels == expected
    for uuid, record in world.inventory.domains.items():
        connected = {
            (uuid, n) for n, c in record.channels.items() if c.state in CONNECTED_STATES
        }
        assert connected == {key for key in expected if key[0] == uuid}
    for number, group in world.inventory.groups.items():
        assert group.stage in (
            GroupStage.IDLE,
            GroupStage.PREPARED,
            GroupStage.TAKEN,
        )
        assert (number in world.held_groups) == (group.stage is not GroupStage.IDLE)
        assert (number in world.taken_groups) == (group.stage is GroupStage.TAKEN)
        if world.inventory.is_needed(number):
            assert group.stage is not GroupStage.IDLE
