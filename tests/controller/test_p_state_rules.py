# SPDX-License-Identifier: Apache-2.0
"""Which domains get P-states by rules, and when they are made again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.config import BoundsConfig, Config
from orchestrator.controller import actions as a
from orchestrator.onboarding.rule import OnboardRule
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, domain, vcpu

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainSpec

RULES = Config(onboard=(OnboardRule(match="web*", channels="none", p_states=True),))
SPEC = domain("web", channels=())


def made_for(host: SimulatedHost, spec: DomainSpec) -> list[a.Action]:
    """Describe a domain, and return what is to be made for it."""
    host.domains[spec.uuid] = spec
    decided = host.react(e.DomainDescribed(spec, NOW_NS))
    return [action for action in decided if isinstance(action, a.MakePStates)]


def started(config: Config = RULES, spec: DomainSpec = SPEC) -> SimulatedHost:
    host = SimulatedHost(config=config, domains={spec.uuid: spec})
    host.start()
    host.settle()
    return host


def texts(host: SimulatedHost) -> list[str]:
    return [item.text for item in host.reports if "P-states" in item.text]


def test_a_rule_gives_p_states_and_no_channels() -> None:
    host = started()
    assert host.domains[SPEC.uuid].has_next_p_states
    assert texts(host) == [
        "P-states of vCPUs 0-1 added to its definition, for its next start"
    ]
    assert made_for(host, host.domains[SPEC.uuid]) == []


def test_other_domains_get_none() -> None:
    spec = domain("fw", channels=())
    assert not started(spec=spec).domains[spec.uuid].has_next_p_states
    transient = domain("web", channels=(), definition=None)
    assert not started(spec=transient).domains[transient.uuid].has_next_p_states


def test_they_are_made_again_when_what_they_depend_on_has_changed() -> None:
    host = started()
    spec = host.domains[SPEC.uuid]
    pinned = replace(spec, vcpus=(vcpu(0, 2), vcpu(1, 1)))
    assert made_for(host, pinned) == [a.MakePStates(spec.uuid, RULES)]
    host.settle()
    assert made_for(host, pinned) == []
    removed = replace(pinned, has_next_p_states=False)
    assert made_for(host, removed) == [a.MakePStates(spec.uuid, RULES)]
    host.settle()
    slower = replace(RULES, bounds=BoundsConfig(max_khz=KHz(2_000_000)))
    decided = host.react(e.ConfigReloaded(slower))
    assert a.MakePStates(spec.uuid, slower) in decided


def test_while_they_are_made_nothing_else_is_started() -> None:
    host = started()
    spec = replace(host.domains[SPEC.uuid], vcpus=(vcpu(0, 2),))
    assert len(made_for(host, spec)) == 1
    again = replace(spec, vcpus=(vcpu(0, 3),))
    assert made_for(host, again) == []


def test_a_failure_is_reported_once_and_shown_as_a_problem() -> None:
    host = SimulatedHost(config=RULES, domains={SPEC.uuid: SPEC})
    host.stubborn.add(SPEC.uuid)
    host.start()
    host.settle()
    assert texts(host) == ["no vCPU can have P-states"]
    record = host.inventory.domains[SPEC.uuid]
    assert record.p_states.problem == "P-states: no vCPU can have P-states"
    assert made_for(host, SPEC) == []
    pinned = replace(SPEC, vcpus=(vcpu(0, 2),))
    assert len(made_for(host, pinned)) == 1
    host.settle()
    assert texts(host) == ["no vCPU can have P-states"]
    host.react(e.ConfigReloaded(Config()))
    assert record.p_states.problem == ""


def test_while_libvirt_is_away_it_is_no_failure() -> None:
    host = started()
    spec = replace(host.domains[SPEC.uuid], vcpus=(vcpu(0, 2),))
    assert len(made_for(host, spec)) == 1
    host.react(e.PStatesMade(SPEC.uuid, failure="not connected", is_final=False))
    assert host.inventory.domains[SPEC.uuid].p_states.problem == ""
    assert len(made_for(host, spec)) == 1


def test_a_domain_that_is_gone_is_not_reported() -> None:
    host = started()
    before = texts(host)
    assert (
        host.react(e.PStatesMade(domain("gone").uuid, is_changed=True, vcpus=(0,)))
        == []
    )
    assert texts(host) == before
