"""Policies of guests, of rules and of metadata: decided, answered, ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import actions as a
from orchestrator import events as e
from orchestrator.channel.protocol import PolicyPacket, encode_policy
from orchestrator.config import BoundsConfig, Config, DomainRule
from orchestrator.domain import DomainId, DomainState
from orchestrator.domain_policy import DomainPolicy, Mode
from orchestrator.interface import InterfaceKind, InterfaceSpec
from orchestrator.inventory import GroupStage
from orchestrator.policy.tenant import Source, SourceKind
from orchestrator.rules.policy_rule import PolicyKind, PolicyRule, Workload
from orchestrator.units import KHz
from tests.controller.specs import NOW_NS, STEPS, domain, vcpu
from tests.controller.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.domain import DomainSpec
    from orchestrator.policy.tenant import VCpuPlace

LOW = PolicyPacket(policy=2, workload=2, num_vcpu=2, vcpus=(0, 1, 0, 0, 0, 0, 0, 0))
MAC = "52:54:00:12:34:56"
TAP = InterfaceSpec(mac=MAC, kind=InterfaceKind.TAP, device="vnet0")


def rule(match: str = "*", **more: Any) -> PolicyRule:
    options = {"kind": PolicyKind.WORKLOAD, "workload": Workload.LOW, **more}
    return PolicyRule(match=match, **options)


def served(*specs: DomainSpec, config: Config | None = None) -> World:
    world = World(config or Config())
    for spec in specs or (domain(interfaces=(TAP,)),):
        world.domains[spec.uuid] = spec
    world.start()
    world.settle()
    return world


def uuid_of(world: World) -> DomainId:
    (uuid,) = world.domains
    return uuid


def send(world: World, packet: PolicyPacket, *, number: int = 1) -> bool:
    """Send it as the guest does; return whether it was accepted."""
    uuid = uuid_of(world)
    sent = e.PolicySent(uuid, number, 7, 464, encode_policy(packet))
    world.tell(sent)
    world.settle()
    (answer,) = world.answers
    world.answers.clear()
    assert (answer.uuid, answer.number, answer.ticket) == (uuid, number, 7)
    return answer.is_accepted


def texts(world: World) -> list[str]:
    return [report.text for report in world.reports if report.kind == "policy"]


def sources(world: World) -> list[str]:
    return [str(status.source) for status in world.engine.statuses()]


def places(world: World) -> Mapping[int, VCpuPlace]:
    tenancy = world.inventory.domains[uuid_of(world)].tenancy
    assert tenancy is not None
    return {place.vcpu: place for place in tenancy.tenant.places}


# Guests


def test_a_guest_s_policy_is_installed_and_then_acknowledged() -> None:
    world = served()
    assert send(world, LOW)
    assert sources(world) == ["guest channel 1"]
    assert texts(world) == ["policy workload of guest channel 1 is in force"]


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (LOW._replace(core_type=1), "it names physical CPUs"),
        (LOW._replace(vcpus=(9, 0, 0, 0, 0, 0, 0, 0)), "the domain has no vCPU 9"),
        (LOW._replace(num_vcpu=9), "9 vCPUs in 8 slots"),
        (LOW._replace(num_vcpu=0), "it names no vCPU"),
        (LOW._replace(policy=4), "policy 4 is none"),
        (LOW._replace(workload=3), "workload 3 is none"),
        (LOW._replace(policy=0), "it names no MAC address"),
        (LOW._replace(policy=0, nb_mac=-1), "-1 MAC addresses in 10 slots"),
        (
            LOW._replace(policy=0, nb_mac=1, vfid=(bytes(8),) * 10),
            "the domain has no interface 00:00:00:00:00:00",
        ),
    ],
)
def test_t13_what_cannot_be_is_refused_with_the_reason_told(
    packet: PolicyPacket, reason: str
) -> None:
    world = served()
    assert not send(world, packet)
    assert sources(world) == []
    (text,) = texts(world)
    assert text.startswith("policy of guest channel 1 refused: ")
    assert reason in text


def test_s2_whose_policy_it_is_is_not_what_the_packet_says() -> None:
    world = served(domain("one"), domain("two", vcpus=(vcpu(0, 4),)))
    one, two = world.domains
    packet = encode_policy(LOW._replace(vm_name=b"two", num_vcpu=1))
    world.tell(e.PolicySent(one, 1, 7, 464, packet))
    world.settle()
    assert [status.uuid for status in world.engine.statuses()] == [one]
    world.tell(e.PolicyRemoved(two, 1))
    world.settle()
    assert [status.uuid for status in world.engine.statuses()] == [one]


def test_t13_what_the_host_cannot_see_is_refused() -> None:
    world = served()
    world.obstacle = "this machine offers no counter"
    assert not send(world, LOW._replace(policy=3))
    (text,) = texts(world)
    assert text.endswith("refused: branch-ratio: this machine offers no counter")


def test_s13_a_guest_that_repeats_itself_is_answered_and_not_told_of_again() -> None:
    world = served()
    for _ in range(3):
        assert send(world, LOW)
    for _ in range(3):
        assert not send(world, LOW._replace(policy=9))
    assert len(texts(world)) == 2
    assert sources(world) == ["guest channel 1"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Config(mode=Mode.OBSERVE), "the domain is only observed (host)"),
        (
            Config(domain=(DomainRule(match="dpdk-*", guest_policies=False),)),
            "not allowed (rule dpdk-*)",
        ),
    ],
)
def test_a_guest_that_may_not_is_refused(config: Config, reason: str) -> None:
    world = served(config=config)
    assert not send(world, LOW)
    assert texts(world) == [f"policy of guest channel 1 refused: {reason}"]


def test_a_right_that_is_withdrawn_ends_what_came_of_it() -> None:
    world = served()
    assert send(world, LOW)
    forbid = Config(domain=(DomainRule(match="*", guest_policies=False),))
    world.tell(e.ConfigReloaded(forbid))
    world.settle()
    assert sources(world) == []


def test_a_right_that_is_withdrawn_while_its_vcpus_float_is_withdrawn_for_good() -> (
    None
):
    world = served()
    assert send(world, LOW)
    pinned = world.domains[uuid_of(world)]
    floating = replace(pinned, vcpus=(vcpu(0, 0, 1), vcpu(1, 2, 3)))
    world.tell(e.DomainDescribed(floating, NOW_NS))
    world.settle()
    forbidden = Config(domain=(DomainRule(match="*", guest_policies=False),))
    world.tell(e.ConfigReloaded(forbidden))
    world.settle()
    assert sources(world) == []
    world.tell(e.DomainDescribed(pinned, NOW_NS))
    world.settle()
    assert sources(world) == []


def test_a_floating_vcpu_s_policy_is_refused_with_the_reason() -> None:
    world = served(domain(vcpus=(vcpu(0, 0), vcpu(1, 1, 2))))
    assert not send(world, LOW)
    assert "vCPU 1: floats over CPUs 1-2" in texts(world)[0]


def happenings(world: World) -> Mapping[str, e.Event]:
    uuid, spec = uuid_of(world), world.domains[uuid_of(world)]
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
    world = served()
    assert send(world, LOW)
    world.tell(happenings(world)[name])
    world.hear()
    assert sources(world) == []


def test_a_port_that_somebody_else_closes_ends_nothing() -> None:
    world = served()
    assert send(world, LOW)
    closed = e.GuestPortChanged(uuid_of(world), "channel0", is_open=False, at_ns=NOW_NS)
    world.tell(closed)
    assert sources(world) == ["guest channel 1"]


def test_what_a_guest_may_ask_is_told_and_changed_while_it_runs() -> None:
    world = served(domain(policy=DomainPolicy(queries=False)))
    (record,) = world.inventory.domains.values()
    assert record.view is not None
    assert (record.view.may_query, record.view.may_send_policies) == (False, True)
    rule = DomainRule(match="*", queries=True, guest_policies=False)
    decided = world.tell(e.ConfigReloaded(Config(domain=(rule,))))
    (view,) = [action.view for action in decided if isinstance(action, a.DefineDomain)]
    assert (view.may_query, view.may_send_policies) == (True, False)


# Rules and metadata


def without_channels(**more: Any) -> DomainSpec:
    return domain(channels=(), **more)


def test_a_domain_without_channels_has_its_clocks_prepared_for_a_policy() -> None:
    world = served(without_channels())
    assert world.held_groups == set()
    world.tell(e.ConfigReloaded(Config(policy=(rule(vcpus="1"),))))
    world.settle()
    assert world.held_groups == {1}
    assert sources(world) == ["rule *[0]"]
    world.tell(e.ConfigReloaded(Config()))
    world.settle()
    assert world.held_groups == set()
    assert sources(world) == []


def test_a_policy_s_clock_is_dropped_with_its_domain() -> None:
    world = served(without_channels(), config=Config(policy=(rule(),)))
    assert world.held_groups == {0, 1}
    world.tell(e.DomainVanished(uuid_of(world)))
    world.settle()
    assert world.held_groups == set()
    stages = {group.stage for group in world.inventory.groups.values()}
    assert stages == {GroupStage.IDLE}


def test_a_policy_follows_a_vcpu_that_is_pinned_elsewhere() -> None:
    world = served(without_channels(), config=Config(policy=(rule(),)))
    moved = without_channels(vcpus=(vcpu(0, 5), vcpu(1, 1)))
    world.tell(e.DomainDescribed(moved, NOW_NS))
    world.settle()
    assert world.held_groups == {1, 5}


def test_an_interface_that_is_plugged_in_is_watched_at_once() -> None:
    world = served()
    second = replace(TAP, mac="52:54:00:12:34:57", device="vnet1")
    spec = replace(world.domains[uuid_of(world)], interfaces=(TAP, second))
    world.tell(e.DomainDescribed(spec, NOW_NS))
    tenancy = world.inventory.domains[spec.uuid].tenancy
    assert tenancy is not None
    assert tenancy.tenant.interfaces == (TAP, second)


def test_who_is_only_observed_is_not_steered() -> None:
    rules = Config(policy=(rule(),), domain=(DomainRule(match="*", mode=Mode.OBSERVE),))
    for config in (Config(policy=(rule(),), mode=Mode.OBSERVE), rules):
        world = served(without_channels(), config=config)
        assert world.held_groups == set()
        assert places(world) == {}


def test_metadata_says_what_no_rule_says() -> None:
    own = DomainPolicy(policies="utilisation; workload high vcpus=1")
    spec = without_channels(policy=own)
    world = served(spec, config=Config(policy=(rule(vcpus="0"),)))
    found = {s.source: s.order for s in world.engine.statuses()}
    assert {str(source): order.vcpus for source, order in found.items()} == {
        "rule *[0]": frozenset({0}),
        f"metadata {spec.uuid}[0]": None,
    }
    assert texts(world) == [
        "policy workload of rule *[0] is in force",
        f"policy utilisation of metadata {spec.uuid}[0] is in force",
    ]


def test_a_rule_for_domains_stands_above_their_metadata() -> None:
    spec = without_channels(policy=DomainPolicy(policies="utilisation"))
    above = DomainRule(match="dpdk-*", policies="workload high")
    world = served(spec, config=Config(domain=(above,)))
    (status,) = world.engine.statuses()
    assert status.source.kind is SourceKind.RULE
    assert status.order.policy.kind is PolicyKind.WORKLOAD


def test_a_rule_that_cannot_be_had_is_told_of_once() -> None:
    world = World(Config(policy=(rule(kind=PolicyKind.BRANCH_RATIO, workload=None),)))
    world.obstacle = "no counter"
    spec = without_channels()
    world.domains[spec.uuid] = spec
    world.start()
    world.settle()
    world.tell(e.DomainDescribed(replace(spec, state=DomainState.PAUSED), NOW_NS))
    world.settle()
    assert texts(world) == ["policy of rule *[0] refused: branch-ratio: no counter"]
    assert world.held_groups == set()
    record = world.inventory.domains[spec.uuid]
    assert list(record.policy_refusals.values()) == ["branch-ratio: no counter"]
    world.tell(e.ConfigReloaded(Config()))
    assert record.policy_refusals == {}


@pytest.mark.parametrize(
    ("policy", "bounds", "steps"),
    [
        (None, BoundsConfig(), STEPS.khz),
        (DomainPolicy(turbo=False), BoundsConfig(), STEPS.khz[1:]),
        (None, BoundsConfig(turbo=False), STEPS.khz[1:]),
        (DomainPolicy(max_khz=KHz(2_500_000)), BoundsConfig(), STEPS.khz[2:]),
        (DomainPolicy(min_khz=KHz(1_300_000)), BoundsConfig(), STEPS.khz[:3]),
        (None, BoundsConfig(max_khz=KHz(2_000_000)), STEPS.khz[2:]),
        (None, BoundsConfig(min_khz=KHz(2_000_000)), STEPS.khz[:3]),
        (
            DomainPolicy(min_khz=KHz(2_100_000), max_khz=KHz(2_200_000)),
            BoundsConfig(),
            (2_000_000,),
        ),
    ],
)
def test_policies_choose_among_what_the_bounds_leave(
    policy: DomainPolicy | None, bounds: BoundsConfig, steps: tuple[int, ...]
) -> None:
    world = served(without_channels(policy=policy), config=Config(bounds=bounds))
    assert {place.steps_khz for place in places(world).values()} == {steps}


def test_what_an_operator_does_is_told() -> None:
    world = served(without_channels())
    uuid, source = uuid_of(world), Source(SourceKind.OPERATOR, "night")
    kind = PolicyKind.WORKLOAD
    world.tell(e.PolicyInstalled(uuid, source, kind, by="uid 0 (pid 9)"))
    world.tell(e.PolicyEnded(uuid, source, "uid 0 (pid 9)"))
    assert texts(world) == [
        "policy workload of operator night is in force by uid 0 (pid 9)",
        "policy of operator night removed by uid 0 (pid 9)",
    ]
