# SPDX-License-Identifier: Apache-2.0
"""Which domains get channels by rules, and which lose them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import events as e
from orchestrator.config import Config, DomainRule
from orchestrator.controller import actions as a
from orchestrator.controller.onboarding import MAX_ATTEMPTS, explain, find_rule
from orchestrator.onboarding.rule import MetadataCondition, OnboardRule
from orchestrator.values.domain import DomainSpec, DomainState
from orchestrator.values.domain_settings import DomainSettings
from tests.controller.simulated_host import SimulatedHost, with_sides
from tests.controller.specs import NOW_NS, domain, vcpu

if TYPE_CHECKING:
    from collections.abc import Iterable

RULES = Config(onboard=(OnboardRule(match="dpdk-*"),))
BOTH = frozenset({0, 1})


def bare(name: str = "dpdk-0", *, ports: int = 30, **more: object) -> DomainSpec:
    spec = domain(name, channels=(), **more)
    live = spec.live and replace(spec.live, free_ports=ports)
    return replace(spec, live=live)


def listed(spec: DomainSpec, config: Config = RULES) -> SimulatedHost:
    host = SimulatedHost(config=config, domains={spec.uuid: spec})
    host.start()
    return host


def settled(spec: DomainSpec, config: Config = RULES) -> SimulatedHost:
    host = listed(spec, config)
    host.settle()
    return host


def held(host: SimulatedHost, uuid: str) -> tuple[frozenset[int] | None, ...]:
    """Channels of the running domain and of its definition."""
    [spec] = [spec for spec in host.domains.values() if spec.uuid == uuid]
    sides = (spec.live, spec.definition)
    return tuple(None if side is None else side.present for side in sides)


def reported(host: SimulatedHost) -> list[str]:
    return [item.text for item in host.reports if item.kind == "onboarding"]


def attempts(decided: Iterable[a.Action]) -> list[a.Action]:
    return [x for x in decided if isinstance(x, a.AttachChannels | a.DetachChannels)]


def test_a_matching_domain_gets_the_channels_it_lacks_and_is_served() -> None:
    host = settled(spec := bare())
    assert host.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}
    assert held(host, spec.uuid) == (BOTH, BOTH)
    live, config = "attached to the running domain", "added to its definition"
    assert reported(host) == [f"channels 0-1 {live}; channels 0-1 {config}"]


def test_without_a_rule_no_domain_is_changed() -> None:
    host = settled(spec := bare(), Config())
    assert held(host, spec.uuid) == (frozenset(), frozenset())


def test_a_domain_that_no_rule_matches_is_not_changed() -> None:
    host = settled(spec := bare("web-0"))
    assert held(host, spec.uuid) == (frozenset(), frozenset())


def test_a_domain_that_is_off_gets_channels_in_its_definition() -> None:
    host = settled(spec := bare(state=DomainState.SHUTOFF, run=-1))
    assert held(host, spec.uuid) == (None, BOTH)
    assert reported(host) == ["channels 0-1 added to its definition"]


def test_a_paused_domain_gets_live_channels_when_it_is_resumed() -> None:
    host = settled(spec := bare(state=DomainState.PAUSED))
    assert held(host, spec.uuid) == (frozenset(), BOTH)
    running = replace(host.domains[spec.uuid], state=DomainState.RUNNING)
    host.domains[spec.uuid] = running
    host.react(e.DomainChanged(spec.uuid))
    host.settle()
    assert held(host, spec.uuid) == (BOTH, BOTH)


def test_attaching_is_requested_once_while_it_is_under_way() -> None:
    host = SimulatedHost(config=RULES)
    first, second = (host.react(e.DomainDescribed(bare(), NOW_NS)) for _ in range(2))
    asked = a.AttachChannels(bare().uuid, (0, 1), (0, 1))
    assert (first.count(asked), second.count(asked)) == (1, 0)


@pytest.mark.parametrize("ports", [0, 1])
def test_as_many_as_fit_are_attached_and_the_rest_is_reported_once(
    ports: int,
) -> None:
    host = settled(spec := bare(ports=ports))
    assert held(host, spec.uuid) == (frozenset(range(ports)), BOTH)
    for _ in range(3):
        host.react(e.ResyncDue())
        host.settle()
    problem = host.inventory.domains[spec.uuid].onboarding.problem
    waiting = "channels 0-1" if ports == 0 else "channel 1"
    assert f"no free port for {waiting} in the running domain" in problem
    assert "power it off and start it again" in problem
    assert len(reported(host)) == 2
    started = replace(host.domains[spec.uuid], run=2)
    started = with_sides(started, started.definition, started.definition)
    host.domains[spec.uuid] = started
    host.react(e.DomainChanged(spec.uuid))
    host.settle()
    assert host.inventory.domains[spec.uuid].onboarding.problem == ""


@pytest.mark.parametrize("ports", [0, 1])
def test_a_running_domain_gets_a_controller_where_libvirt_can_plug_one_in(
    ports: int,
) -> None:
    host = listed(spec := bare(ports=ports))
    host.takes_controllers = True
    host.settle()
    assert held(host, spec.uuid) == (BOTH, BOTH)
    assert host.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}
    live, config = "attached to the running domain", "added to its definition"
    assert reported(host) == [
        "virtio-serial controller added to the running domain",
        f"channels 0-1 {live}; channels 0-1 {config}",
    ]
    assert host.inventory.domains[spec.uuid].onboarding.problem == ""


def test_a_controller_is_requested_once_in_a_run_if_libvirt_cannot_plug_it_in() -> None:
    host = settled(spec := bare(ports=1))
    uuid = spec.uuid
    for _ in range(3):
        decided = host.react(e.DomainDescribed(host.domains[uuid], NOW_NS))
        assert not any(isinstance(action, a.AddPorts) for action in decided)
    record = host.inventory.domains[uuid].onboarding
    assert "another virtio-serial controller (cannot be hot plugged)" in record.problem
    assert record.attempts <= 1, "it is not a failed attempt"
    host.takes_controllers = True
    host.react(e.LibvirtConnected())
    host.settle()
    assert held(host, uuid) == (BOTH, BOTH)
    assert host.inventory.domains[uuid].onboarding.problem == ""


def test_a_tool_that_takes_each_added_port_is_not_fought_forever() -> None:
    host = listed(spec := bare(ports=0))
    host.takes_controllers = True
    added = 0
    for _ in range(300):
        while host.to_do:
            is_adding = isinstance(host.to_do[0], a.AddPorts)
            host.step(0)
            host.react_to_posted()
            if is_adding:
                added += 1
                host.domains[spec.uuid] = spec
        host.react(e.ResyncDue())
    assert added == MAX_ATTEMPTS
    assert "another program" in host.inventory.domains[spec.uuid].onboarding.problem


def test_a_domain_that_is_busy_gets_its_controller_later() -> None:
    host = listed(spec := bare(ports=0))
    host.takes_controllers = True
    host.stubborn.add(spec.uuid)
    host.settle()
    assert "busy" in host.inventory.domains[spec.uuid].onboarding.problem
    host.stubborn.clear()
    for _ in range(4):
        host.react(e.ResyncDue())
        host.settle()
    assert held(host, spec.uuid) == (BOTH, BOTH)


def test_a_waiting_channel_is_attached_when_a_port_becomes_free() -> None:
    host = settled(spec := bare(ports=1))
    assert held(host, spec.uuid) == (frozenset({0}), BOTH)
    free = host.domains[spec.uuid]
    assert free.live
    host.domains[spec.uuid] = with_sides(
        free, replace(free.live, free_ports=1), free.definition
    )
    host.react(e.ResyncDue())
    host.settle()
    assert held(host, spec.uuid) == (BOTH, BOTH)
    assert host.inventory.domains[spec.uuid].onboarding.problem == ""


def test_a_transient_domain_without_ports_is_reported_and_not_tried() -> None:
    host = settled(spec := bare(ports=0, definition=None))
    assert "transient" in host.inventory.domains[spec.uuid].onboarding.problem
    assert held(host, spec.uuid) == (frozenset(), None)


def test_a_lost_libvirt_connection_does_not_count_as_an_attempt() -> None:
    host = SimulatedHost(config=RULES)
    asked = a.AttachChannels(bare().uuid, (0, 1), (0, 1))
    for _ in range(2 * MAX_ATTEMPTS):
        assert asked in host.react(e.DomainDescribed(bare(), NOW_NS))
        gone = e.OnboardingFailed(bare().uuid, "does not answer", is_final=False)
        assert host.react(gone) == [], "and not in a tight loop"
    problem = host.inventory.domains[bare().uuid].onboarding.problem
    assert problem == "onboarding: does not answer"


def test_channels_that_a_tool_removed_are_attached_again() -> None:
    host = settled(spec := bare())
    redefined = host.domains[spec.uuid]
    host.domains[spec.uuid] = replace(redefined, definition=spec.definition)
    host.react(e.DomainChanged(spec.uuid))
    host.settle()
    assert held(host, spec.uuid) == (BOTH, BOTH)


def test_a_failure_is_retried_with_growing_pauses_and_not_forever() -> None:
    host = listed(spec := bare())
    host.stubborn.add(spec.uuid)
    tried: list[int] = []
    for resync in range(300):
        host.settle()
        state = host.inventory.domains[spec.uuid].onboarding
        tried += [resync] if state.attempts > len(tried) else []
        host.react(e.ResyncDue())
    assert tried == [0, 1, 3, 7, 15, 31, 63, 127]
    assert len(tried) == MAX_ATTEMPTS
    problem = host.inventory.domains[spec.uuid].onboarding.problem
    assert problem == (
        "onboarding: refused; giving up until it is restarted or the configuration is"
        " reloaded"
    )
    assert reported(host)[0] == "refused; retrying in 30 s"


def test_a_running_domain_that_refuses_does_not_prevent_changing_its_definition() -> (
    None
):
    host = listed(spec := bare())
    host.stubborn_live.add(spec.uuid)
    for _ in range(2):
        host.settle()
        host.react(e.ResyncDue())
    assert held(host, spec.uuid) == (frozenset(), BOTH)
    problem = host.inventory.domains[spec.uuid].onboarding.problem
    assert problem.startswith("onboarding: refused; retrying in")


@pytest.mark.parametrize("event", ["start", "reload", "libvirt"])
def test_after_giving_up_a_change_leads_to_a_new_attempt(event: str) -> None:
    host = listed(spec := bare())
    host.stubborn.add(spec.uuid)
    for _ in range(300):
        host.settle()
        host.react(e.ResyncDue())
    host.stubborn.clear()
    if event == "start":
        host.domains[spec.uuid] = replace(spec, run=2)
        host.react(e.DomainChanged(spec.uuid))
    elif event == "reload":
        host.react(e.ConfigReloaded(RULES))
    else:
        host.react(e.LibvirtConnected())
    host.settle()
    assert held(host, spec.uuid) == (BOTH, BOTH)
    assert host.inventory.domains[spec.uuid].onboarding.problem == ""


def test_a_tool_that_removes_channels_each_time_is_not_fought_forever() -> None:
    host = settled(spec := bare())
    given = 0
    for _ in range(1000):
        if held(host, spec.uuid) == (BOTH, BOTH):
            given += 1
            host.domains[spec.uuid] = spec
            host.react(e.DomainChanged(spec.uuid))
        host.settle()
        host.react(e.ResyncDue())
    assert given == MAX_ATTEMPTS
    assert "another program" in host.inventory.domains[spec.uuid].onboarding.problem


def test_attempts_are_forgotten_after_quiet_resyncs() -> None:
    host = settled(spec := bare())
    for _ in range(3 * MAX_ATTEMPTS):
        host.domains[spec.uuid] = spec
        host.react(e.DomainChanged(spec.uuid))
        for _ in range(4):
            host.settle()
            host.react(e.ResyncDue())
        assert held(host, spec.uuid) == (BOTH, BOTH)


@pytest.mark.parametrize("state", [DomainState.RUNNING, DomainState.SHUTOFF])
def test_without_the_rule_exactly_its_channels_are_detached(
    state: DomainState,
) -> None:
    run = 1 if state.is_active else -1
    theirs = bare(state=state, run=run)
    theirs = with_sides(
        theirs,
        theirs.live and replace(theirs.live, present=frozenset({0})),
        theirs.definition and replace(theirs.definition, present=frozenset({1})),
    )
    host = settled(theirs)
    host.react(e.ConfigReloaded(Config()))
    host.settle()
    kept = frozenset({0}) if state.is_active else None
    assert held(host, theirs.uuid) == (kept, frozenset({1}))


def test_channels_that_were_there_before_are_never_detached() -> None:
    host = settled(spec := domain())
    host.react(e.ConfigReloaded(Config()))
    host.settle()
    assert host.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}


def test_an_unplugged_vcpu_keeps_its_channel() -> None:
    host = settled(spec := bare())
    now = host.domains[spec.uuid]
    assert now.live
    less = replace(now, live=replace(now.live, vcpus=frozenset()), vcpus=(vcpu(0, 0),))
    host.domains[spec.uuid] = less
    host.react(e.DomainChanged(spec.uuid))
    host.settle()
    assert held(host, spec.uuid) == (BOTH, BOTH)


def test_a_rule_with_fewer_channels_detaches_the_others() -> None:
    host = settled(spec := bare())
    fewer = OnboardRule(match="dpdk-*", channels="0,7")
    host.react(e.ConfigReloaded(Config(onboard=(fewer,))))
    host.settle()
    assert held(host, spec.uuid) == (frozenset({0, 7}), frozenset({0, 7}))
    none = OnboardRule(match="dpdk-*", channels="none")
    host.react(e.ConfigReloaded(Config(onboard=(none, *RULES.onboard))))
    host.settle()
    assert held(host, spec.uuid) == (frozenset(), frozenset())


def test_a_port_that_detaching_frees_is_not_reported_as_missing() -> None:
    first, second = (OnboardRule(match="*", channels=number) for number in "01")
    host = settled(spec := bare(ports=1), Config(onboard=(first,)))
    host.react(e.ConfigReloaded(Config(onboard=(second,))))
    host.settle()
    assert held(host, spec.uuid) == (frozenset({1}), frozenset({1}))
    assert not any("no free port" in text for text in reported(host))


NAMED = OnboardRule(match="dpdk-*")
ASKED = OnboardRule(metadata=MetadataCondition.ASKS)
PINNED = OnboardRule(pinned=True)
ASKS, REFUSES = DomainSettings(onboard=True), DomainSettings(onboard=False)


@pytest.mark.parametrize(
    ("rules", "facts", "first"),
    [
        ([NAMED], {}, 0),
        ([OnboardRule(match=bare().uuid.upper())], {}, 0),
        ([OnboardRule(match="*", except_=("web", "dpdk-?"))], {}, None),
        ([OnboardRule(match="*", except_=(bare().uuid,))], {}, None),
        ([OnboardRule(match="*", except_=("dpdk-1",)), NAMED], {}, 0),
        ([OnboardRule(match="*", except_=("dpdk-0",)), NAMED], {}, 1),
        ([PINNED], {}, None),
        ([PINNED], {"is_pinned": True}, 0),
        ([OnboardRule(pinned=False)], {"is_pinned": True}, None),
        ([OnboardRule(pinned=False)], {}, 0),
        ([ASKED], {}, None),
        ([ASKED], {"settings": ASKS}, 0),
        ([ASKED], {"settings": REFUSES}, None),
        ([NAMED], {"settings": REFUSES}, None),
        (
            [NAMED, OnboardRule(match="*", metadata=MetadataCondition.IGNORED)],
            {"settings": REFUSES},
            1,
        ),
        ([OnboardRule(match="dpdk-*", pinned=True), NAMED], {}, 1),
    ],
)
def test_the_first_rule_that_matches_a_domain_decides(
    rules: list[OnboardRule], facts: dict[str, Any], first: int | None
) -> None:
    found = find_rule(Config(onboard=tuple(rules)), bare(**facts))
    assert found == (None if first is None else rules[first])


def test_a_rule_of_the_host_takes_precedence_over_metadata() -> None:
    refused = DomainRule(match="dpdk-0", onboard=False)
    config = Config(domain=(refused,), onboard=(ASKED,))
    assert find_rule(config, bare(settings=ASKS)) is None


def test_the_source_of_the_decision_is_named() -> None:
    refusing = bare(settings=REFUSES)
    assert explain(RULES, bare()) == ("all", "onboard rule dpdk-*", None)
    assert explain(RULES, refusing)[:2] == ("none", "metadata")
    assert explain(RULES, bare("web")) == ("none", "default", None)
    assert explain(Config(), refusing) == ("none", "default", None)
    some = OnboardRule(pinned=False, channels="0-1")
    assert explain(Config(onboard=(some,)), bare()) == ("0-1", "onboard rule *", None)


@pytest.mark.parametrize(
    ("rule", "facts", "reason"),
    [
        (OnboardRule(pinned=True), {}, "the domain's vCPUs are not pinned"),
        (
            OnboardRule(pinned=False),
            {"is_pinned": True},
            "the domain's vCPUs are pinned",
        ),
        (OnboardRule(except_=("*-0",)), {}, "the domain is an exception"),
        (OnboardRule(), {"settings": REFUSES}, "the domain refuses it"),
        (ASKED, {}, "the domain does not request it"),
    ],
)
def test_a_rule_that_passes_a_domain_over_reports_why(
    rule: OnboardRule, facts: dict[str, Any], reason: str
) -> None:
    config = Config(onboard=(OnboardRule(match="web"), replace(rule, match="dpdk-*")))
    found = explain(config, bare(**facts)).reason
    assert found == f"onboard rule dpdk-* does not apply: {reason}"


def test_a_domain_that_begins_to_refuse_loses_the_channels_of_a_rule() -> None:
    host = settled(spec := bare())
    host.domains[spec.uuid] = replace(host.domains[spec.uuid], settings=REFUSES)
    host.react(e.DomainChanged(spec.uuid))
    host.settle()
    assert held(host, spec.uuid) == (frozenset(), frozenset())
