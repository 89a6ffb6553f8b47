# SPDX-License-Identifier: Apache-2.0
"""What becomes of a domain, from its first description to its end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.controller import actions as a
from orchestrator.monitor.link import commands as c
from orchestrator.power.topology import CpuLocation
from orchestrator.values.domain import DomainSpec, DomainState, PCpu
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.frequencies import table_from
from orchestrator.values.refusal import Refusal
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, channel, domain, topology, vcpu

if TYPE_CHECKING:
    from orchestrator.controller.records import Placement
    from orchestrator.power.topology import Topology


def running(*specs: DomainSpec) -> SimulatedHost:
    host = SimulatedHost(domains={spec.uuid: spec for spec in specs})
    host.start()
    host.settle()
    return host


def states(host: SimulatedHost, spec: DomainSpec) -> list[ChannelState]:
    channels = host.inventory.domains[spec.uuid].channels
    return [channels[number].state for number in sorted(channels)]


def stale_since(host: SimulatedHost) -> str | None:
    return host.inventory.libvirt.stale_since


def test_a_domain_that_already_runs_is_served_from_the_first_listing() -> None:
    spec = domain()
    host = running(spec)
    assert states(host, spec) == [ChannelState.OPEN, ChannelState.OPEN]
    assert host.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}
    assert host.held_groups == {0, 1}
    assert host.taken_groups == set()


def test_a_domain_that_is_off_waits_and_is_served_when_it_starts() -> None:
    off = domain(state=DomainState.SHUTOFF, run=-1)
    host = running(off)
    assert [p.group for p in host.inventory.domains[off.uuid].placements.values()] == [
        0,
        1,
    ]
    assert states(host, off) == [ChannelState.ABSENT] * 2
    host.domains[off.uuid] = domain()
    host.react(e.DomainChanged(off.uuid))
    host.settle()
    assert states(host, off) == [ChannelState.OPEN] * 2


def test_a_domain_that_stops_loses_its_channels_and_its_groups() -> None:
    spec = domain()
    host = running(spec)
    host.domains[spec.uuid] = replace(spec, state=DomainState.SHUTOFF, run=-1)
    host.react(e.DomainChanged(spec.uuid))
    host.settle()
    assert host.open_channels == set()
    assert host.held_groups == set()
    assert states(host, spec) == [ChannelState.ABSENT] * 2


def test_an_undefined_domain_is_forgotten() -> None:
    spec = domain()
    host = running(spec)
    del host.domains[spec.uuid]
    host.react(e.DomainChanged(spec.uuid))
    host.settle()
    assert host.inventory.domains == {}
    assert host.open_channels == set()
    assert c.ForgetDomain(spec.uuid) not in host.to_do


def test_a_restart_behind_our_back_connects_to_the_new_sockets() -> None:
    spec = domain()
    host = running(spec)
    again = replace(spec, run=2, channels=(channel(0, "/run/new.0"),))
    host.domains[spec.uuid] = again
    decided = host.react(e.DomainDescribed(again, NOW_NS))
    assert c.CloseChannel(spec.uuid, 0) in decided
    assert a.ConnectChannel(spec.uuid, 0, "/run/new.0", 0.0) in decided
    host.settle()
    assert host.open_channels == {(spec.uuid, 0)}


def test_describing_the_same_domain_again_does_nothing() -> None:
    spec = domain()
    host = running(spec)
    assert host.react(e.DomainDescribed(spec, NOW_NS)) == []


def test_a_paused_domain_keeps_its_channels_and_its_votes_do_not_count() -> None:
    spec = domain()
    host = running(spec)
    decided = host.react(
        e.DomainDescribed(replace(spec, state=DomainState.PAUSED), NOW_NS)
    )
    views = [x for x in decided if isinstance(x, c.DefineDomain)]
    assert [view.is_executing for view in views] == [False]
    assert not any(isinstance(x, c.CloseChannel) for x in decided)


@pytest.mark.parametrize("state", [s for s in DomainState if s.is_active])
def test_as_long_as_a_domain_runs_its_counters_are_kept(state: DomainState) -> None:
    host = running(spec := domain())
    decided = host.react(
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
    assert not any(isinstance(x, c.ForgetDomain) for x in decided)
    off = replace(spec, state=DomainState.SHUTOFF, run=-1, channels=())
    assert c.ForgetDomain(spec.uuid) in host.react(e.DomainDescribed(off, NOW_NS))


def test_a_rename_changes_the_name_and_nothing_else() -> None:
    spec = domain()
    host = running(spec)
    decided = host.react(e.DomainDescribed(replace(spec, name="new"), NOW_NS))
    assert [type(x) for x in decided] == [a.Report]
    assert host.inventory.domains[spec.uuid].spec.name == "new"


def test_a_reboot_withdraws_what_the_guest_asked_for() -> None:
    spec = domain()
    host = running(spec)
    assert c.WithdrawVotes(spec.uuid, None) in host.react(e.DomainRebooted(spec.uuid))


def test_a_reset_is_reported_once_although_libvirt_reports_it_three_times() -> None:
    spec = domain()
    host = running(spec)
    reboot = e.DomainRebooted(spec.uuid)

    def reported(*happened: e.Event) -> int:
        decided = host.react(*happened)
        assert decided.count(c.WithdrawVotes(spec.uuid, None)) == happened.count(reboot)
        reports = [it.text for it in decided if isinstance(it, a.Report)]
        return reports.count("guest rebooted")

    assert reported(reboot, reboot, reboot) == 1
    alias = spec.channels[0].alias
    assert alias is not None
    closed = e.GuestPortChanged(spec.uuid, alias, is_open=False, at_ns=NOW_NS)
    assert reported(closed, reboot) == 0
    assert reported(replace(closed, is_open=True), reboot, reboot) == 1
    assert reported(e.ResyncDue(), reboot) == 1


def test_a_repinned_vcpu_moves_to_its_new_group() -> None:
    spec = domain()
    host = running(spec)
    host.react(e.DomainDescribed(replace(spec, vcpus=(vcpu(0, 5), vcpu(1, 1))), NOW_NS))
    host.settle()
    assert host.held_groups == {1, 5}


@pytest.mark.parametrize(
    ("pinning", "reason"),
    [
        ((0, 1), "floats over CPUs 0-1: pin it to one clock group"),
        ((), "its pinning is unknown to libvirt"),
        ((7,), "pinned to offline CPUs only: 7"),
    ],
)
def test_an_uncontrollable_vcpu_has_a_reason(
    pinning: tuple[int, ...], reason: str
) -> None:
    placement = place(topology(offline=[7]), *pinning)
    assert (placement.group, placement.reason) == (None, reason)
    assert placement.refusal is Refusal.FLOATING


def place(cpus: Topology, *pinning: int) -> Placement:
    """Return where a vCPU with this pinning is."""
    host = SimulatedHost(topology=cpus)
    spec = domain(vcpus=(vcpu(0, *pinning),))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    (placement,) = host.inventory.domains[spec.uuid].placements.values()
    (sent,) = host.inventory.domains[spec.uuid].sent.vcpus  # type: ignore[union-attr]
    assert sent.refusal is (placement.refusal or Refusal.FLOATING)
    return placement


@pytest.mark.parametrize("pinning", [(2,), (2, 3), (0, 1, 2, 3), ()])
def test_without_a_supported_driver_no_vcpu_floats(pinning: tuple[int, ...]) -> None:
    reason = "no governor can be set"
    cpus = topology(4)
    unsupported = dict.fromkeys(cpus.online, reason)
    placement = place(replace(cpus, groups=(), unmanaged=unsupported), *pinning)
    assert (placement.refusal, placement.reason) == (Refusal.UNMANAGED, reason)


def test_beside_other_cpus_one_without_a_driver_is_left_by_pinning() -> None:
    cpus = topology(4)
    partly = replace(cpus, groups=cpus.groups[:2], unmanaged={PCpu(2): "no cpufreq"})
    assert place(partly, 2).refusal is Refusal.UNMANAGED
    assert place(partly, 0, 2).refusal is Refusal.FLOATING
    assert place(partly, 1).refusal is None


def cores(cpus: Topology, threads: int = 2) -> Topology:
    """Make each `threads` consecutive CPUs one core."""
    locations = {n: CpuLocation(core=PCpu(n // threads * threads)) for n in cpus.online}
    return replace(cpus, locations=locations)


def test_the_threads_of_a_core_are_one_place() -> None:
    placement = place(cores(topology()), 2, 3)
    assert (placement.refusal, placement.reason) == (None, None)
    assert (placement.group, placement.siblings, placement.groups) == (2, (3,), (2, 3))


def test_threads_of_several_cores_float() -> None:
    placement = place(cores(topology()), 2, 3, 4)
    assert placement.reason == "floats over CPUs 2-4: pin it to one clock group"
    assert placement.groups == ()


def test_a_thread_that_is_offline_does_not_count() -> None:
    assert place(cores(topology(offline=[3])), 2, 3).groups == (2,)


def test_threads_with_different_steps_float() -> None:
    cpus = cores(topology())
    slow = table_from([2_000_000, 1_200_000])
    groups = tuple(
        replace(group, steps=slow) if group.number == 3 else group
        for group in cpus.groups
    )
    assert place(replace(cpus, groups=groups), 2, 3).refusal is Refusal.FLOATING


def test_clock_groups_that_are_wider_than_the_core_are_not_its_threads() -> None:
    # CPUs 2 and 4 are threads of a core, and CPUs 3 and 5 of another one.
    cpus = topology(shared=2)
    locations = {n: CpuLocation(core=PCpu(n % 2 + 2)) for n in cpus.online}
    assert place(replace(cpus, locations=locations), 2, 4).refusal is Refusal.FLOATING


def test_all_threads_of_a_vcpu_are_prepared() -> None:
    host = SimulatedHost(topology=cores(topology()))
    spec = domain(vcpus=(vcpu(0, 2, 3),), channels=(channel(0),))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    assert host.held_groups == {2, 3}
    groups = [host.inventory.groups[number].sent for number in (2, 3)]
    assert [group and group.has_host_cpus for group in groups] == [False, False]
    sent = host.inventory.domains[spec.uuid].sent
    assert sent is not None
    assert [(v.group, v.siblings) for v in sent.vcpus] == [(2, (3,))]


def test_a_vcpu_of_a_core_is_unmanaged_if_one_thread_is_refused() -> None:
    host = SimulatedHost(topology=cores(topology()), refusing={3})
    spec = domain(vcpus=(vcpu(0, 2, 3),), channels=(channel(0),))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    host.react(e.TakeWanted(3))
    host.settle()
    (placement,) = host.inventory.domains[spec.uuid].placements.values()
    assert (placement.groups, placement.refusal) == ((), Refusal.UNMANAGED)


def test_two_cpus_of_one_clock_group_are_one_place() -> None:
    host = SimulatedHost(topology=topology(shared=2))
    spec = domain(vcpus=(vcpu(0, 2, 3),))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    (placement,) = host.inventory.domains[spec.uuid].placements.values()
    assert (placement.group, placement.reason) == (2, None)


def test_a_group_with_a_cpu_without_pinned_vcpus_belongs_to_the_host_too() -> None:
    host = SimulatedHost(topology=topology(shared=2))
    spec = domain(vcpus=(vcpu(0, 0),))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    view = host.inventory.groups[0].sent
    assert view is not None
    assert view.has_host_cpus
    host.react(e.DomainDescribed(replace(spec, vcpus=(vcpu(0, 0), vcpu(1, 1))), NOW_NS))
    view = host.inventory.groups[0].sent
    assert view is not None
    assert not view.has_host_cpus


def test_losing_libvirt_closes_nothing_and_marks_the_picture_stale() -> None:
    spec = domain()
    host = running(spec)
    host.react(e.LibvirtLost("libvirt ended", "2026-01-01T00:00:00+00:00"))
    host.settle()
    assert len(host.open_channels) == 2
    assert stale_since(host) == "2026-01-01T00:00:00+00:00"
    host.react(e.LibvirtConnected())
    host.settle()
    assert stale_since(host) is None
    assert host.inventory.libvirt.reconnects_total == 1


def test_a_domain_that_cannot_be_described_keeps_what_was_known() -> None:
    spec = domain()
    host = running(spec)
    host.react(e.DomainUndescribed(spec.uuid, "timed out"))
    host.settle()
    assert len(host.open_channels) == 2
    assert any("timed out" in report.text for report in host.reports)


def test_metadata_bounds_reach_the_monitor_at_once() -> None:
    spec = domain()
    host = running(spec)
    policy = DomainSettings(max_khz=KHz(2_000_000), turbo=False, mode=Mode.OBSERVE)
    decided = host.react(e.DomainDescribed(replace(spec, settings=policy), NOW_NS))
    (view,) = [x for x in decided if isinstance(x, c.DefineDomain)]
    assert not view.is_enforced
    assert {v.limits.max_khz for v in view.vcpus} == {2_000_000}
    assert not any(v.is_turbo_allowed for v in view.vcpus)
    # Nothing may change its frequencies any more, so they are not held either.
    host.settle()
    assert host.held_groups == set()


def test_a_domain_is_found_by_the_name_that_it_has_now() -> None:
    one, two = domain("one"), domain("two")
    host = running(one, two)

    def found(name: str) -> str | None:
        record = host.inventory.find_domain(name)
        return record.spec.uuid if record else None

    assert (found("one"), found("two"), found("three")) == (one.uuid, two.uuid, None)
    # The first one is renamed, and the second one gets its name.
    host.react(e.DomainDescribed(replace(one, name="three"), NOW_NS))
    host.react(e.DomainDescribed(replace(two, name="one"), NOW_NS))
    assert (found("one"), found("two"), found("three")) == (two.uuid, None, one.uuid)
    # The news of two that exchange their names arrive one after the other.
    host.react(e.DomainDescribed(replace(one, name="one"), NOW_NS))
    host.react(e.DomainDescribed(replace(two, name="three"), NOW_NS))
    assert (found("one"), found("three")) == (one.uuid, two.uuid)
    host.react(e.DomainVanished(one.uuid))
    assert (found("one"), found("three")) == (None, two.uuid)
