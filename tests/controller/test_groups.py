# SPDX-License-Identifier: Apache-2.0
"""Preparing, taking and giving back clock groups."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.config import BoundsConfig, Config
from orchestrator.controller import actions as a
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.monitor.link import commands as c
from orchestrator.values.domain import DomainState
from orchestrator.values.domain_settings import Mode
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, domain, topology, vcpu


def served(**more: object) -> SimulatedHost:
    spec = domain(vcpus=(vcpu(0, 0),))
    host = SimulatedHost(domains={spec.uuid: spec}, **more)  # type: ignore[arg-type]
    host.start()
    host.settle()
    return host


def stage(host: SimulatedHost) -> GroupStage:
    return host.inventory.groups[0].stage


def test_nothing_is_taken_before_the_first_vote() -> None:
    host = served()
    assert (stage(host), host.taken_groups) == (GroupStage.PREPARED, set())


def test_the_first_vote_takes_the_group() -> None:
    host = served()
    assert host.react(e.TakeWanted(0)) == [a.TakeGroup(0)]
    host.to_do[:] = [a.TakeGroup(0)]
    host.settle()
    assert stage(host) is GroupStage.TAKEN


def test_a_vote_that_arrives_while_preparing_takes_afterwards() -> None:
    spec = domain(vcpus=(vcpu(0, 0),))
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    while not any(isinstance(x, a.PrepareGroup) for x in host.to_do):
        host.react(*host.perform(host.to_do.pop(0)))
    assert host.react(e.TakeWanted(0)) == []
    host.settle()
    assert host.taken_groups == {0}


def test_a_yielded_group_gets_its_originals_and_stays_prepared() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    assert host.react(e.GroupYielded(0)) == [a.RestoreGroup(0)]
    host.settle()
    assert (stage(host), host.taken_groups) == (GroupStage.PREPARED, set())


def test_a_vote_during_the_restoration_takes_again_after_it() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    host.react(e.GroupYielded(0))
    assert host.react(e.TakeWanted(0)) == []
    host.settle()
    assert host.taken_groups == {0}


def test_a_group_whose_domain_stops_is_restored_and_dropped() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    (spec,) = host.domains.values()
    off = domain(state=DomainState.SHUTOFF, run=-1, vcpus=spec.vcpus)
    host.react(e.DomainDescribed(off, NOW_NS))
    host.settle()
    assert stage(host) is GroupStage.TAKEN
    host.react(e.GroupYielded(0))
    host.settle()
    assert (stage(host), host.held_groups) == (GroupStage.IDLE, set())


def test_a_refused_governor_makes_the_vcpu_uncontrollable_with_the_reason() -> None:
    host = served(refusing={0})
    host.react(e.TakeWanted(0))
    host.settle()
    (record,) = host.inventory.domains.values()
    (placement,) = record.placements.values()
    assert (placement.group, placement.reason) == (None, "EINVAL")
    assert host.held_groups == set()


def test_a_refused_group_is_tried_again_at_the_next_resync() -> None:
    host = served(refusing={0})
    host.react(e.TakeWanted(0))
    host.settle()
    host.refusing.clear()
    host.react(e.ResyncDue())
    host.settle()
    assert stage(host) is GroupStage.PREPARED


def test_observing_prepares_nothing_and_enforces_nothing() -> None:
    host = served(config=Config(mode=Mode.OBSERVE))
    (record,) = host.inventory.domains.values()
    assert host.held_groups == set()
    assert record.sent is not None
    assert not record.sent.is_enforced


def test_an_override_takes_an_unused_group() -> None:
    host = SimulatedHost()
    host.start()
    host.settle()
    host.react(e.OverrideSet(3, 2_000_000))
    host.settle()
    assert host.taken_groups == {3}
    view = host.inventory.groups[3].sent
    assert view is not None
    assert view.override_khz == 2_000_000


def test_a_released_override_gives_the_group_back_when_the_monitor_yields() -> None:
    host = SimulatedHost()
    host.start()
    host.settle()
    host.react(e.OverrideSet(3, 2_000_000))
    host.settle()
    host.react(e.OverrideReleased(3), e.GroupYielded(3))
    host.settle()
    assert (host.taken_groups, host.held_groups) == (set(), set())


def test_host_bounds_reach_the_monitor_and_change_at_once() -> None:
    host = served()
    bounds = BoundsConfig(max_khz=KHz(2_000_000), turbo=False)
    host.react(e.ConfigReloaded(Config(bounds=bounds)))
    view = host.inventory.groups[0].sent
    (record,) = host.inventory.domains.values()
    assert view is not None
    assert record.sent is not None
    assert view.limits == (1_200_000, 2_000_000)
    assert not record.sent.vcpus[0].is_turbo_allowed


def test_the_kernels_own_upper_bound_is_one_of_the_hosts_bounds() -> None:
    groups = topology().groups
    bounded = replace(groups[0], max_khz=2_000_000)
    host = served(topology=replace(topology(), groups=(bounded, *groups[1:])))
    view = host.inventory.groups[0].sent
    assert view is not None
    assert view.limits == (1_200_000, 2_000_000)


def test_a_cpu_that_comes_back_online_gets_its_clock_again() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    host.react(e.TopologyRead(topology(offline=[0])))
    host.settle()
    back = host.react(e.TopologyRead(topology()))
    assert c.Reapply(0) in back


def test_taken_groups_are_handed_over_to_a_new_monitor() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    host.react(e.MonitorDied(-9))
    host.to_do.clear()
    assert c.HandOver(0, is_taken=True) in host.react(e.MonitorStarted())


def test_originals_that_changed_before_the_take_are_handed_over_first() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    decided = host.react(e.GroupRenewed(0, "performance"))
    assert decided == [c.HandOver(0, is_taken=False), a.TakeGroup(0)]
    host.to_do[:] = [a.TakeGroup(0)]
    host.settle()
    assert stage(host) is GroupStage.TAKEN
    assert "from governor performance" in host.reports[-1].text
    # Each operation has one outcome, so there is no second one to renew for.
    with pytest.raises(ValueError, match="RENEWED cannot happen while taken"):
        host.react(e.GroupRenewed(0, "schedutil"))


def test_a_group_that_the_kernel_does_not_take_back_is_not_called_given_back() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    host.react(e.GroupYielded(0))
    host.to_do.clear()
    decided = host.react(e.GroupFailed(0, "cannot restore: EBUSY"))
    assert a.DropGroup(0) in decided
    assert c.ConfirmRelease(0) not in decided
    assert stage(host) is GroupStage.FAILED
    assert "EBUSY" in host.reports[-1].text


def test_a_replaced_driver_makes_main_read_the_cpus_again() -> None:
    assert SimulatedHost().react(e.DriverReplaced(0)) == [a.ReadTopology()]
