from __future__ import annotations

from orchestrator import actions as a
from orchestrator import events as e
from orchestrator.config import Config, DomainRule
from orchestrator.domain_policy import DomainPolicy
from tests.controller.world import World, domain


def _served(config: Config | None = None, **more: object) -> World:
    world = World(config or Config())
    spec = domain(**more)  # type: ignore[arg-type]
    world.domains[spec.uuid] = spec
    world.start()
    world.settle()
    return world


def test_a_policy_is_refused_and_people_are_told() -> None:
    world = _served()
    (uuid,) = world.domains
    sent = e.PolicySent(uuid, 1, 7, 464, b"")
    answer, report = world.tell(sent)
    assert answer == a.AnswerPolicy(uuid, 1, 7, is_accepted=False)
    assert isinstance(report, a.Report)
    assert (report.kind, report.domain) == ("policy", "dpdk-0")
    assert world.tell(e.PolicyRemoved(uuid, 1)) == []


def test_what_a_guest_may_ask_is_told_and_changed_while_it_runs() -> None:
    world = _served(policy=DomainPolicy(queries=False))
    (record,) = world.inventory.domains.values()
    assert record.view is not None
    assert (record.view.may_query, record.view.may_send_policies) == (False, True)
    rule = DomainRule(match="*", queries=True, guest_policies=False)
    decided = world.tell(e.ConfigReloaded(Config(domain=(rule,))))
    (view,) = [action.view for action in decided if isinstance(action, a.DefineDomain)]
    assert (view.may_query, view.may_send_policies) == (True, False)
