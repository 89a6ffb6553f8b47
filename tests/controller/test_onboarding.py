"""Who is given channels, and who must give them back."""

from __future__ import annotations

from orchestrator import actions as a
from orchestrator import events as e
from orchestrator.config import Config, OnboardRule
from orchestrator.domain import DomainSpec, DomainState
from tests.controller.world import World, domain

RULES = Config(onboard=(OnboardRule(match="dpdk-*"),))


def bare(name: str = "dpdk-0", **more: object) -> DomainSpec:
    values: dict[str, object] = {"missing_channels": (0, 1), "has_free_ports": True}
    return domain(name, channels=(), **{**values, **more})


def listed(spec: DomainSpec, config: Config = RULES) -> World:
    world = World(config=config, domains={spec.uuid: spec})
    world.start()
    return world


def test_a_matched_domain_is_given_what_it_lacks_and_is_served() -> None:
    world = listed(spec := bare())
    world.settle()
    assert world.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}


def test_without_a_rule_nobody_is_touched() -> None:
    world = listed(bare(), Config())
    world.settle()
    assert world.open_channels == set()


def test_a_domain_that_no_rule_names_is_not_touched() -> None:
    world = listed(bare("web-0"))
    world.settle()
    assert world.open_channels == set()


def test_a_domain_that_is_off_is_left_alone() -> None:
    spec = bare(state=DomainState.SHUTOFF, run=-1)
    decided = listed(spec).tell(e.DomainDescribed(spec))
    assert not any(isinstance(x, a.AttachChannels) for x in decided)


def test_attaching_is_asked_for_once_while_it_is_under_way() -> None:
    world = World(config=RULES)
    first, second = (world.tell(e.DomainDescribed(bare())) for _ in range(2))
    asked = a.AttachChannels(bare().uuid, (0, 1))
    assert (first.count(asked), second.count(asked)) == (1, 0)


def test_a_domain_without_ports_is_told_what_to_do() -> None:
    world = listed(spec := bare(has_free_ports=False))
    world.settle()
    problem = world.inventory.domains[spec.uuid].onboarding_problem
    assert "power it off" in problem


def test_a_failure_is_tried_again_only_in_the_next_run() -> None:
    world = World(config=RULES)
    world.tell(e.DomainDescribed(bare()))
    world.tell(e.OnboardingFailed(bare().uuid, "no ports"))
    asked = a.AttachChannels(bare().uuid, (0, 1))
    assert asked not in world.tell(e.DomainDescribed(bare()))
    assert asked in world.tell(e.DomainDescribed(bare(run=2)))


def test_a_libvirt_that_was_not_there_is_asked_again() -> None:
    world = World(config=RULES)
    world.tell(e.DomainDescribed(bare()))
    gone = e.OnboardingFailed(bare().uuid, "does not answer", is_final=False)
    assert world.tell(gone) == [], "nor in a tight circle"
    problem = world.inventory.domains[bare().uuid].onboarding_problem
    assert problem == "onboarding: does not answer"
    asked = a.AttachChannels(bare().uuid, (0, 1))
    assert asked in world.tell(e.DomainDescribed(bare()))


def test_without_the_rule_what_was_given_is_taken_back_and_no_more() -> None:
    world = listed(spec := bare())
    world.settle()
    world.tell(e.ConfigReloaded(Config()))
    world.settle()
    assert world.open_channels == set()
    assert world.domains[spec.uuid].channels == ()


def test_channels_that_were_there_before_are_never_taken() -> None:
    world = listed(spec := domain())
    world.settle()
    world.tell(e.ConfigReloaded(Config()))
    world.settle()
    assert world.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}
