"""What becomes of a domain, from its first description to its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import actions as a
from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.domain import DomainSpec, DomainState
from orchestrator.domain_policy import DomainPolicy, Mode
from orchestrator.units import KHz
from tests.controller.specs import NOW_NS, channel, domain, topology, vcpu
from tests.controller.world import World


def running(*specs: DomainSpec) -> World:
    world = World(domains={spec.uuid: spec for spec in specs})
    world.start()
    world.settle()
    return world


def states(world: World, spec: DomainSpec) -> list[ChannelState]:
    channels = world.inventory.domains[spec.uuid].channels
    return [channels[number].state for number in sorted(channels)]


def stale_since(world: World) -> str | None:
    return world.inventory.libvirt.stale_since


def test_a_domain_that_already_runs_is_served_from_the_first_listing() -> None:
    spec = domain()
    world = running(spec)
    assert states(world, spec) == [ChannelState.OPEN, ChannelState.OPEN]
    assert world.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}
    assert world.held_groups == {0, 1}
    assert world.taken_groups == set()


def test_a_domain_that_is_off_waits_and_is_served_when_it_starts() -> None:
    off = domain(state=DomainState.SHUTOFF, run=-1)
    world = running(off)
    assert [p.group for p in world.inventory.domains[off.uuid].placements.values()] == [
        0,
        1,
    ]
    assert states(world, off) == [ChannelState.ABSENT] * 2
    world.domains[off.uuid] = domain()
    world.tell(e.DomainChanged(off.uuid))
    world.settle()
    assert states(world, off) == [ChannelState.OPEN] * 2


def test_a_domain_that_stops_loses_its_channels_and_its_groups() -> None:
    spec = domain()
    world = running(spec)
    world.domains[spec.uuid] = replace(spec, state=DomainState.SHUTOFF, run=-1)
    world.tell(e.DomainChanged(spec.uuid))
    world.settle()
    assert world.open_channels == set()
    assert world.held_groups == set()
    assert states(world, spec) == [ChannelState.ABSENT] * 2


def test_an_undefined_domain_is_forgotten() -> None:
    spec = domain()
    world = running(spec)
    del world.domains[spec.uuid]
    world.tell(e.DomainChanged(spec.uuid))
    world.settle()
    assert world.inventory.domains == {}
    assert world.open_channels == set()
    assert a.ForgetDomain(spec.uuid) not in world.to_do


def test_a_restart_behind_our_back_connects_to_the_new_sockets() -> None:
    spec = domain()
    world = running(spec)
    again = replace(spec, run=2, channels=(channel(0, "/run/new.0"),))
    world.domains[spec.uuid] = again
    decided = world.tell(e.DomainDescribed(again, NOW_NS))
    assert a.CloseChannel(spec.uuid, 0) in decided
    assert a.ConnectChannel(spec.uuid, 0, "/run/new.0", 0.0) in decided
    world.settle()
    assert world.open_channels == {(spec.uuid, 0)}


def test_describing_the_same_domain_again_does_nothing() -> None:
    spec = domain()
    world = running(spec)
    assert world.tell(e.DomainDescribed(spec, NOW_NS)) == []


def test_a_paused_domain_keeps_its_channels_and_its_votes_do_not_count() -> None:
    spec = domain()
    world = running(spec)
    decided = world.tell(
        e.DomainDescribed(replace(spec, state=DomainState.PAUSED), NOW_NS)
    )
    views = [x.view for x in decided if isinstance(x, a.DefineDomain)]
    assert [view.is_executing for view in views] == [False]
    assert not any(isinstance(x, a.CloseChannel) for x in decided)


@pytest.mark.parametrize("state", [s for s in DomainState if s.is_active])
def test_as_long_as_a_domain_runs_its_counters_are_kept(state: DomainState) -> None:
    world = running(spec := domain())
    decided = world.tell(
        e.DomainDescribed(replace(spec, state=state), NOW_NS),
        e.DomainRebooted(spec.uuid),
        e.DomainDescribed(replace(spec, channels=()), NOW_NS),
        e.DomainDescribed(replace(spec, run=2), NOW_NS),
        e.DomainDescribed(replace(spec, run=2, name="another"), NOW_NS),
        e.EndpointClosed(spec.uuid, 0, "hung up"),
        e.LibvirtLost("eof", "2026-01-01T00:00:00+00:00"),
        e.MonitorDied(-9),
        e.MonitorStarted(),
    )
    assert not any(isinstance(x, a.ForgetDomain) for x in decided)
    off = replace(spec, state=DomainState.SHUTOFF, run=-1, channels=())
    assert a.ForgetDomain(spec.uuid) in world.tell(e.DomainDescribed(off, NOW_NS))


def test_a_rename_changes_the_name_and_nothing_else() -> None:
    spec = domain()
    world = running(spec)
    decided = world.tell(e.DomainDescribed(replace(spec, name="new"), NOW_NS))
    assert [type(x) for x in decided] == [a.Report]
    assert world.inventory.domains[spec.uuid].spec.name == "new"


def test_a_reboot_withdraws_what_the_guest_asked_for() -> None:
    spec = domain()
    world = running(spec)
    assert a.WithdrawVotes(spec.uuid, None) in world.tell(e.DomainRebooted(spec.uuid))


def test_a_repinned_vcpu_moves_to_its_new_group() -> None:
    spec = domain()
    world = running(spec)
    world.tell(e.DomainDescribed(replace(spec, vcpus=(vcpu(0, 5), vcpu(1, 1))), NOW_NS))
    world.settle()
    assert world.held_groups == {1, 5}


@pytest.mark.parametrize(
    ("pinning", "reason"),
    [
        ((0, 1), "floats over CPUs 0-1: pin it to one clock group"),
        ((), "libvirt does not say where it may run"),
        ((7,), "none of its CPUs 7 is online"),
    ],
)
def test_a_vcpu_that_cannot_be_controlled_says_why(
    pinning: tuple[int, ...], reason: str
) -> None:
    world = World(topology=topology(offline=[7]))
    spec = domain(vcpus=(vcpu(0, *pinning),))
    world.domains[spec.uuid] = spec
    world.start()
    world.settle()
    (placement,) = world.inventory.domains[spec.uuid].placements.values()
    assert (placement.group, placement.reason) == (None, reason)


def test_two_cpus_of_one_clock_group_are_one_place() -> None:
    world = World(topology=topology(shared=2))
    spec = domain(vcpus=(vcpu(0, 2, 3),))
    world.domains[spec.uuid] = spec
    world.start()
    world.settle()
    (placement,) = world.inventory.domains[spec.uuid].placements.values()
    assert (placement.group, placement.reason) == (2, None)


def test_a_group_with_a_cpu_that_nobody_is_pinned_to_belongs_to_the_host_too() -> None:
    world = World(topology=topology(shared=2))
    spec = domain(vcpus=(vcpu(0, 0),))
    world.domains[spec.uuid] = spec
    world.start()
    world.settle()
    view = world.inventory.groups[0].view
    assert view is not None
    assert view.has_host_cpus
    world.tell(e.DomainDescribed(replace(spec, vcpus=(vcpu(0, 0), vcpu(1, 1))), NOW_NS))
    view = world.inventory.groups[0].view
    assert view is not None
    assert not view.has_host_cpus


def test_losing_libvirt_closes_nothing_and_marks_the_picture_stale() -> None:
    spec = domain()
    world = running(spec)
    world.tell(e.LibvirtLost("libvirt ended", "2026-01-01T00:00:00+00:00"))
    world.settle()
    assert len(world.open_channels) == 2
    assert stale_since(world) == "2026-01-01T00:00:00+00:00"
    world.tell(e.LibvirtConnected())
    world.settle()
    assert stale_since(world) is None
    assert world.inventory.libvirt.reconnects_total == 1


def test_a_domain_that_cannot_be_described_keeps_what_was_known() -> None:
    spec = domain()
    world = running(spec)
    world.tell(e.DomainUndescribed(spec.uuid, "timed out"))
    world.settle()
    assert len(world.open_channels) == 2
    assert any("timed out" in report.text for report in world.reports)


def test_metadata_bounds_reach_the_monitor_at_once() -> None:
    spec = domain()
    world = running(spec)
    policy = DomainPolicy(max_khz=KHz(2_000_000), turbo=False, mode=Mode.OBSERVE)
    decided = world.tell(e.DomainDescribed(replace(spec, policy=policy), NOW_NS))
    (view,) = [x.view for x in decided if isinstance(x, a.DefineDomain)]
    assert not view.is_enforced
    assert {v.max_khz for v in view.vcpus} == {2_000_000}
    assert not any(v.is_turbo_allowed for v in view.vcpus)
    # Nobody may change its clocks any more, so they are not held either.
    world.settle()
    assert world.held_groups == set()
