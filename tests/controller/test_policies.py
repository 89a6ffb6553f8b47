# SPDX-License-Identifier: Apache-2.0
"""Policies of guests, of rules and of metadata: decided, answered, ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import events as e
from orchestrator.channel.protocol import PolicyPacket, encode_policy
from orchestrator.config import BoundsConfig, Config, DomainRule
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.monitor.link import commands as c
from orchestrator.policy.compile import order_of
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.rule import PolicyRule
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.values.domain import (
    DomainId,
    DomainState,
    InterfaceKind,
    InterfaceSpec,
)
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, STEPS, domain, vcpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.policy.subject import VCpuPlace
    from orchestrator.values.domain import DomainSpec

LOW = PolicyPacket(policy=2, workload=2, num_vcpu=2, vcpus=(0, 1, 0, 0, 0, 0, 0, 0))
MAC = "52:54:00:12:34:56"
TAP = InterfaceSpec(mac=MAC, kind=InterfaceKind.TAP, device="vnet0")


def rule(match: str = "*", **more: Any) -> PolicyRule:
    options = {"kind": FixedWorkload.kind, "options": {"workload": "low"}, **more}
    return PolicyRule(match=match, **options)


def served(*specs: DomainSpec, config: Config | None = None) -> SimulatedHost:
    host = SimulatedHost(config or Config())
    for spec in specs or (domain(interfaces=(TAP,)),):
        host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    return host


def uuid_of(host: SimulatedHost) -> DomainId:
    (uuid,) = host.domains
    return uuid


def send(host: SimulatedHost, packet: PolicyPacket, *, number: int = 1) -> bool:
    """Send it as the guest does; return whether it was accepted."""
    uuid = uuid_of(host)
    sent = e.PolicySent(uuid, number, 7, 464, encode_policy(packet))
    host.react(sent)
    host.settle()
    (answer,) = host.answers
    host.answers.clear()
    assert (answer.uuid, answer.number, answer.ticket) == (uuid, number, 7)
    return answer.is_accepted


def texts(host: SimulatedHost) -> list[str]:
    return [report.text for report in host.reports if report.kind == "policy"]


def sources(host: SimulatedHost) -> list[str]:
    return [str(status.source) for status in host.engine.statuses()]


def places(host: SimulatedHost) -> Mapping[int, VCpuPlace]:
    update = host.inventory.domains[uuid_of(host)].last_subject
    assert update is not None
    return {place.vcpu: place for place in update.subject.places}


# Guests


def test_a_guest_s_policy_is_installed_and_then_acknowledged() -> None:
    host = served()
    assert send(host, LOW)
    assert sources(host) == ["guest channel 1"]
    assert texts(host) == ["policy workload of guest channel 1 is in force"]


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (LOW._replace(core_type=1), "it is for physical CPUs"),
        (LOW._replace(vcpus=(9, 0, 0, 0, 0, 0, 0, 0)), "the domain has no vCPU 9"),
        (LOW._replace(num_vcpu=9), "invalid number of vCPUs: 9, at most 8"),
        (LOW._replace(num_vcpu=0), "it names no vCPU"),
        (LOW._replace(policy=4), "invalid policy type 4"),
        (LOW._replace(workload=3), "invalid workload 3"),
        (LOW._replace(policy=0), "it names no MAC address"),
        (
            LOW._replace(policy=0, nb_mac=-1),
            "invalid number of MAC addresses: -1, at most 10",
        ),
        (
            LOW._replace(policy=0, nb_mac=1, vfid=(bytes(8),) * 10),
            "the domain has no interface 00:00:00:00:00:00",
        ),
    ],
)
def test_t13_invalid_requests_are_refused_with_a_reason(
    packet: PolicyPacket, reason: str
) -> None:
    host = served()
    assert not send(host, packet)
    assert sources(host) == []
    (text,) = texts(host)
    assert text.startswith("policy of guest channel 1 refused: ")
    assert reason in text


def test_s2_the_owner_of_a_policy_is_not_taken_from_the_packet() -> None:
    host = served(domain("one"), domain("two", vcpus=(vcpu(0, 4),)))
    one, two = host.domains
    packet = encode_policy(LOW._replace(vm_name=b"two", num_vcpu=1))
    host.react(e.PolicySent(one, 1, 7, 464, packet))
    host.settle()
    assert [status.uuid for status in host.engine.statuses()] == [one]
    host.react(e.PolicyRemoved(two, 1))
    host.settle()
    assert [status.uuid for status in host.engine.statuses()] == [one]


def test_t13_what_the_host_cannot_see_is_refused() -> None:
    host = served()
    host.obstacle = "this machine has no counters"
    assert not send(host, LOW._replace(policy=3))
    (text,) = texts(host)
    assert text.endswith("refused: branch-ratio: this machine has no counters")


def test_s13_a_repeated_policy_is_answered_and_not_reported_again() -> None:
    host = served()
    for _ in range(3):
        assert send(host, LOW)
    for _ in range(3):
        assert not send(host, LOW._replace(policy=9))
    assert len(texts(host)) == 2
    assert sources(host) == ["guest channel 1"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Config(mode=Mode.OBSERVE), "the domain is in mode 'observe' (host)"),
        (
            Config(domain=(DomainRule(match="dpdk-*", guest_policies=False),)),
            "not allowed (rule dpdk-*)",
        ),
    ],
)
def test_a_guest_that_may_not_is_refused(config: Config, reason: str) -> None:
    host = served(config=config)
    assert not send(host, LOW)
    assert texts(host) == [f"policy of guest channel 1 refused: {reason}"]


def test_a_right_that_is_withdrawn_ends_what_came_of_it() -> None:
    host = served()
    assert send(host, LOW)
    forbid = Config(domain=(DomainRule(match="*", guest_policies=False),))
    host.react(e.ConfigReloaded(forbid))
    host.settle()
    assert sources(host) == []


def test_a_right_that_is_withdrawn_while_its_vcpus_float_is_withdrawn_for_good() -> (
    None
):
    host = served()
    assert send(host, LOW)
    pinned = host.domains[uuid_of(host)]
    floating = replace(pinned, vcpus=(vcpu(0, 0, 1), vcpu(1, 2, 3)))
    host.react(e.DomainDescribed(floating, NOW_NS))
    host.settle()
    forbidden = Config(domain=(DomainRule(match="*", guest_policies=False),))
    host.react(e.ConfigReloaded(forbidden))
    host.settle()
    assert sources(host) == []
    host.react(e.DomainDescribed(pinned, NOW_NS))
    host.settle()
    assert sources(host) == []


def test_a_floating_vcpu_s_policy_is_refused_with_the_reason() -> None:
    host = served(domain(vcpus=(vcpu(0, 0), vcpu(1, 1, 2))))
    assert not send(host, LOW)
    assert "vCPU 1: floats over CPUs 1-2" in texts(host)[0]


def happenings(host: SimulatedHost) -> Mapping[str, e.Event]:
    uuid, spec = uuid_of(host), host.domains[uuid_of(host)]
    off = replace(spec, state=DomainState.SHUTOFF, run=-1)
    return {
        "guest removes it": e.PolicyRemoved(uuid, 0),
        "endpoint gone": e.EndpointClosed(uuid, 1, "gone"),
        "guest rebooted": e.DomainRebooted(uuid),
        "disabled": e.ChannelSwitched(uuid, 1, is_enabled=False),
        "port closed": e.GuestPortChanged(
            uuid, "channel1", is_open=False, at_ns=NOW_NS
        ),
        "domain off": e.DomainDescribed(off, NOW_NS),
        "domain gone": e.DomainVanished(uuid),
        "another run": e.DomainDescribed(replace(spec, run=2), NOW_NS),
    }


@pytest.mark.parametrize("name", list(happenings(served())))
def test_f7_a_guest_s_policy_ends_with(name: str) -> None:
    host = served()
    assert send(host, LOW)
    host.react(happenings(host)[name])
    host.react_to_posted()
    assert sources(host) == []


def test_a_port_closed_by_another_program_ends_nothing() -> None:
    host = served()
    assert send(host, LOW)
    closed = e.GuestPortChanged(uuid_of(host), "channel0", is_open=False, at_ns=NOW_NS)
    host.react(closed)
    assert sources(host) == ["guest channel 1"]


def test_permissions_of_a_guest_are_shown_and_changed_while_it_runs() -> None:
    host = served(domain(settings=DomainSettings(queries=False)))
    (record,) = host.inventory.domains.values()
    assert record.sent is not None
    assert record.sent.permissions == ("energy_queries", "guest_policies")
    rule = DomainRule(
        match="*", queries=True, energy_queries=False, guest_policies=False
    )
    decided = host.react(e.ConfigReloaded(Config(domain=(rule,))))
    (view,) = [action for action in decided if isinstance(action, c.DefineDomain)]
    assert view.permissions == ("queries",)


# Rules and metadata


def without_channels(**more: Any) -> DomainSpec:
    return domain(channels=(), **more)


def test_a_domain_without_channels_has_its_clocks_prepared_for_a_policy() -> None:
    host = served(without_channels())
    assert host.held_groups == set()
    host.react(e.ConfigReloaded(Config(policy=(rule(vcpus="1"),))))
    host.settle()
    assert host.held_groups == {1}
    assert sources(host) == ["rule *[0]"]
    host.react(e.ConfigReloaded(Config()))
    host.settle()
    assert host.held_groups == set()
    assert sources(host) == []


def test_a_policy_s_clock_is_dropped_with_its_domain() -> None:
    host = served(without_channels(), config=Config(policy=(rule(),)))
    assert host.held_groups == {0, 1}
    host.react(e.DomainVanished(uuid_of(host)))
    host.settle()
    assert host.held_groups == set()
    stages = {group.stage for group in host.inventory.groups.values()}
    assert stages == {GroupStage.IDLE}


def test_a_policy_follows_a_vcpu_that_is_pinned_elsewhere() -> None:
    host = served(without_channels(), config=Config(policy=(rule(),)))
    moved = without_channels(vcpus=(vcpu(0, 5), vcpu(1, 1)))
    host.react(e.DomainDescribed(moved, NOW_NS))
    host.settle()
    assert host.held_groups == {1, 5}


def test_an_interface_that_is_plugged_in_is_watched_at_once() -> None:
    host = served()
    second = replace(TAP, mac="52:54:00:12:34:57", device="vnet1")
    spec = replace(host.domains[uuid_of(host)], interfaces=(TAP, second))
    host.react(e.DomainDescribed(spec, NOW_NS))
    update = host.inventory.domains[spec.uuid].last_subject
    assert update is not None
    assert update.subject.interfaces == (TAP, second)


def test_who_is_only_observed_is_not_steered() -> None:
    rules = Config(policy=(rule(),), domain=(DomainRule(match="*", mode=Mode.OBSERVE),))
    for config in (Config(policy=(rule(),), mode=Mode.OBSERVE), rules):
        host = served(without_channels(), config=config)
        assert host.held_groups == set()
        # What the policy would vote for is known, and changes nothing.
        assert places(host).keys() == {0, 1}


def test_metadata_decides_what_no_rule_decides() -> None:
    own = DomainSettings(policies="utilisation; workload high vcpus=1")
    spec = without_channels(settings=own)
    host = served(spec, config=Config(policy=(rule(vcpus="0"),)))
    found = {s.source: s.order for s in host.engine.statuses()}
    assert {str(source): order.vcpus for source, order in found.items()} == {
        "rule *[0]": frozenset({0}),
        f"metadata {spec.uuid}[0]": None,
    }
    assert texts(host) == [
        "policy workload of rule *[0] is in force",
        f"policy utilisation of metadata {spec.uuid}[0] is in force",
    ]


def test_a_domain_rule_takes_precedence_over_metadata() -> None:
    spec = without_channels(settings=DomainSettings(policies="utilisation"))
    above = DomainRule(match="dpdk-*", policies="workload high")
    host = served(spec, config=Config(domain=(above,)))
    (status,) = host.engine.statuses()
    assert status.source.kind is SourceKind.RULE
    assert status.order.policy.kind == "workload"


def test_a_rule_that_cannot_be_applied_is_reported_once() -> None:
    host = SimulatedHost(Config(policy=(rule(kind=BranchRatio.kind, options={}),)))
    host.obstacle = "no counter"
    spec = without_channels()
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    host.react(e.DomainDescribed(replace(spec, state=DomainState.PAUSED), NOW_NS))
    host.settle()
    assert texts(host) == ["policy of rule *[0] refused: branch-ratio: no counter"]
    assert host.held_groups == set()
    record = host.inventory.domains[spec.uuid]
    assert list(record.policy_refusals.values()) == ["branch-ratio: no counter"]
    host.react(e.ConfigReloaded(Config()))
    assert record.policy_refusals == {}


@pytest.mark.parametrize(
    ("settings", "bounds", "steps"),
    [
        (None, BoundsConfig(), STEPS.khz),
        (DomainSettings(turbo=False), BoundsConfig(), STEPS.khz[1:]),
        (None, BoundsConfig(turbo=False), STEPS.khz[1:]),
        (DomainSettings(max_khz=KHz(2_500_000)), BoundsConfig(), STEPS.khz[2:]),
        (DomainSettings(min_khz=KHz(1_300_000)), BoundsConfig(), STEPS.khz[:3]),
        (None, BoundsConfig(max_khz=KHz(2_000_000)), STEPS.khz[2:]),
        (None, BoundsConfig(min_khz=KHz(2_000_000)), STEPS.khz[:3]),
        (
            DomainSettings(min_khz=KHz(2_100_000), max_khz=KHz(2_200_000)),
            BoundsConfig(),
            (2_000_000,),
        ),
    ],
)
def test_policies_choose_among_what_the_bounds_leave(
    settings: DomainSettings | None, bounds: BoundsConfig, steps: tuple[int, ...]
) -> None:
    host = served(without_channels(settings=settings), config=Config(bounds=bounds))
    assert {place.window.khz for place in places(host).values()} == {steps}


def test_an_operator_s_actions_are_reported() -> None:
    host = served(without_channels())
    uuid, source = uuid_of(host), Source(SourceKind.OPERATOR, "night")
    kind = FixedWorkload.kind
    host.react(e.PolicyInstalled(uuid, source, kind, by="uid 0 (pid 9)"))
    host.react(e.PolicyEnded(uuid, source, "removed by uid 0 (pid 9)"))
    assert texts(host) == [
        "policy workload of operator night is in force, set by uid 0 (pid 9)",
        "policy of operator night ended: removed by uid 0 (pid 9)",
    ]


def test_an_operator_s_policy_ends_with_the_run_of_its_domain() -> None:
    spec = domain(vcpus=(vcpu(0, 0),))
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    host.settle()
    source = Source(SourceKind.OPERATOR, "night")
    host.engine.install(spec.uuid, source, order_of(rule(), None))
    assert host.engine.sources(spec.uuid) == (source,)
    # A restart that was over before the daemon saw the domain off.
    host.react(e.DomainDescribed(replace(spec, run=spec.run + 1), host.now_ns))
    host.settle()
    assert host.engine.sources(spec.uuid) == ()
