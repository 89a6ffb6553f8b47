"""Preparing, taking and giving back clock groups."""

from __future__ import annotations

from dataclasses import replace

from orchestrator import actions as a
from orchestrator import events as e
from orchestrator.config import BoundsConfig, Config
from orchestrator.domain import DomainState
from orchestrator.domain_policy import Mode
from orchestrator.inventory import GroupStage
from orchestrator.units import KHz
from tests.controller.specs import NOW_NS, domain, topology, vcpu
from tests.controller.world import World


def served(**more: object) -> World:
    spec = domain(vcpus=(vcpu(0, 0),))
    world = World(domains={spec.uuid: spec}, **more)  # type: ignore[arg-type]
    world.start()
    world.settle()
    return world


def stage(world: World) -> GroupStage:
    return world.inventory.groups[0].stage


def test_nothing_is_taken_before_somebody_votes() -> None:
    world = served()
    assert (stage(world), world.taken_groups) == (GroupStage.PREPARED, set())


def test_the_first_vote_takes_the_group() -> None:
    world = served()
    assert world.tell(e.TakeWanted(0)) == [a.TakeGroup(0)]
    world.to_do[:] = [a.TakeGroup(0)]
    world.settle()
    assert stage(world) is GroupStage.TAKEN


def test_a_vote_that_arrives_while_preparing_takes_afterwards() -> None:
    spec = domain(vcpus=(vcpu(0, 0),))
    world = World(domains={spec.uuid: spec})
    world.start()
    while not any(isinstance(x, a.PrepareGroup) for x in world.to_do):
        world.tell(*world.perform(world.to_do.pop(0)))
    assert world.tell(e.TakeWanted(0)) == []
    world.settle()
    assert world.taken_groups == {0}


def test_a_yielded_group_gets_its_originals_and_stays_prepared() -> None:
    world = served()
    world.tell(e.TakeWanted(0))
    world.settle()
    assert world.tell(e.GroupYielded(0)) == [a.RestoreGroup(0)]
    world.settle()
    assert (stage(world), world.taken_groups) == (GroupStage.PREPARED, set())


def test_a_vote_during_the_restoration_takes_again_after_it() -> None:
    world = served()
    world.tell(e.TakeWanted(0))
    world.settle()
    world.tell(e.GroupYielded(0))
    assert world.tell(e.TakeWanted(0)) == []
    world.settle()
    assert world.taken_groups == {0}


def test_a_group_whose_domain_stops_is_restored_and_dropped() -> None:
    world = served()
    world.tell(e.TakeWanted(0))
    world.settle()
    (spec,) = world.domains.values()
    off = domain(state=DomainState.SHUTOFF, run=-1, vcpus=spec.vcpus)
    world.tell(e.DomainDescribed(off, NOW_NS))
    world.settle()
    assert stage(world) is GroupStage.TAKEN
    world.tell(e.GroupYielded(0))
    world.settle()
    assert (stage(world), world.held_groups) == (GroupStage.IDLE, set())


def test_a_refused_governor_makes_the_vcpu_uncontrollable_with_the_reason() -> None:
    world = served(refusing={0})
    world.tell(e.TakeWanted(0))
    world.settle()
    (record,) = world.inventory.domains.values()
    (placement,) = record.placements.values()
    assert (placement.group, placement.reason) == (None, "EINVAL")
    assert world.held_groups == set()


def test_a_refused_group_is_tried_again_at_the_next_resync() -> None:
    world = served(refusing={0})
    world.tell(e.TakeWanted(0))
    world.settle()
    world.refusing.clear()
    world.tell(e.ResyncDue())
    world.settle()
    assert stage(world) is GroupStage.PREPARED


def test_observing_prepares_nothing_and_enforces_nothing() -> None:
    world = served(config=Config(mode=Mode.OBSERVE))
    (record,) = world.inventory.domains.values()
    assert world.held_groups == set()
    assert record.view is not None
    assert not record.view.is_enforced


def test_an_override_takes_a_group_that_nobody_uses() -> None:
    world = World()
    world.start()
    world.settle()
    world.tell(e.OverrideSet(3, 2_000_000))
    world.settle()
    assert world.taken_groups == {3}
    view = world.inventory.groups[3].view
    assert view is not None
    assert view.override_khz == 2_000_000


def test_a_released_override_gives_the_group_back_when_the_monitor_yields() -> None:
    world = World()
    world.start()
    world.settle()
    world.tell(e.OverrideSet(3, 2_000_000))
    world.settle()
    world.tell(e.OverrideReleased(3), e.GroupYielded(3))
    world.settle()
    assert (world.taken_groups, world.held_groups) == (set(), set())


def test_host_bounds_reach_the_monitor_and_change_at_once() -> None:
    world = served()
    bounds = BoundsConfig(max_khz=KHz(2_000_000), turbo=False)
    world.tell(e.ConfigReloaded(Config(bounds=bounds)))
    view = world.inventory.groups[0].view
    (record,) = world.inventory.domains.values()
    assert view is not None
    assert record.view is not None
    assert view.max_khz == 2_000_000
    assert not record.view.vcpus[0].is_turbo_allowed


def test_the_kernels_own_upper_bound_is_one_of_the_hosts_bounds() -> None:
    groups = topology().groups
    bounded = replace(groups[0], max_khz=2_000_000)
    world = served(topology=replace(topology(), groups=(bounded, *groups[1:])))
    view = world.inventory.groups[0].view
    assert view is not None
    assert view.max_khz == 2_000_000


def test_a_cpu_that_comes_back_online_gets_its_clock_again() -> None:
    world = served()
    world.tell(e.TakeWanted(0))
    world.settle()
    world.tell(e.TopologyRead(topology(offline=[0])))
    world.settle()
    back = world.tell(e.TopologyRead(topology()))
    assert a.HandOver(0, is_taken=True) in back


def test_a_new_monitor_is_told_about_taken_groups() -> None:
    world = served()
    world.tell(e.TakeWanted(0))
    world.settle()
    world.tell(e.MonitorDied(-9))
    world.to_do.clear()
    assert a.HandOver(0, is_taken=True) in world.tell(e.MonitorStarted())


def test_originals_that_changed_before_the_take_are_handed_over_first() -> None:
    world = served()
    world.tell(e.TakeWanted(0))
    decided = world.tell(e.GroupRenewed(0, "performance"))
    assert decided == [a.HandOver(0, is_taken=False), a.TakeGroup(0)]
    world.to_do[:] = [a.TakeGroup(0)]
    world.settle()
    assert stage(world) is GroupStage.TAKEN
    assert "from governor performance" in world.reports[-1].text
    assert world.tell(e.GroupRenewed(0, "schedutil")) == [], "too late"


def test_a_group_that_the_kernel_does_not_take_back_is_not_called_given_back() -> None:
    world = served()
    world.tell(e.TakeWanted(0))
    world.settle()
    world.tell(e.GroupYielded(0))
    world.to_do.clear()
    decided = world.tell(e.GroupFailed(0, "cannot restore: EBUSY"))
    assert a.DropGroup(0) in decided
    assert a.ConfirmRelease(0) not in decided
    assert stage(world) is GroupStage.FAILED
    assert "EBUSY" in world.reports[-1].text
