"""The configuration's `[[policy]]` rules as policies for a domain; pure."""

from __future__ import annotations

from dataclasses import fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.rule import PolicyKind, PolicyRule, parse_mac
from orchestrator.policy.subject import PolicyOrder
from orchestrator.policy.timetable import parse_window
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from orchestrator.policy.kinds.contract import Policy
    from orchestrator.policy.timetable import Window

_CLASSES: Mapping[PolicyKind, type[Any]] = {
    PolicyKind.TRAFFIC: Traffic,
    PolicyKind.WORKLOAD: FixedWorkload,
    PolicyKind.BRANCH_RATIO: BranchRatio,
    PolicyKind.UTILISATION: Utilisation,
}


def orders_for(
    rules: Iterable[PolicyRule], *, uuid: str, name: str, vcpus: Collection[int]
) -> dict[str, PolicyOrder]:
    """Return the policies that the configuration wants for a domain.

    Args:
        rules: in the order of the configuration, without contradictions.
        uuid: the domain's.
        name: the domain's.
        vcpus: those that it has; each belongs to the first rule that covers it. A rule
            that has them all has those to come too.

    Returns:
        By the rule's place and match, which names it.
    """
    left = set(vcpus)
    orders = {}
    for place, rule in enumerate(rules):
        if rule.match != uuid and not fnmatchcase(name, rule.match):
            continue
        meant = left if rule.vcpus is None else left & parse_cpulist(rule.vcpus)
        if meant:
            whole = meant == set(vcpus)
            name_of_rule = f"{rule.match}[{place}]"
            orders[name_of_rule] = order_of(rule, None if whole else frozenset(meant))
        left = left - meant
    return orders


def order_of(rule: PolicyRule, vcpus: frozenset[int] | None) -> PolicyOrder:
    """Make a policy of a rule, for these vCPUs; None: all."""
    macs = None if rule.macs is None else frozenset(map(parse_mac, rule.macs))
    return PolicyOrder(policy=policy_of(rule), vcpus=vcpus, macs=macs)


def policy_of(rule: PolicyRule) -> Policy[Any, Any]:
    """Make a policy of a rule that has no contradictions."""
    if rule.kind is PolicyKind.TIME_OF_DAY:
        return _time_of_day(rule)
    policy: Policy[Any, Any] = _build(_CLASSES[rule.kind], rule)
    return policy


def _build(cls: type[Any], rule: PolicyRule) -> Any:  # noqa: ANN401 - one of several
    """Make a policy whose options are named as the rule's; what is None is left out."""
    options = {item.name: getattr(rule, item.name, None) for item in fields(cls)}
    return cls(**{name: value for name, value in options.items() if value is not None})


def _time_of_day(rule: PolicyRule) -> TimeOfDay:
    traffic: Traffic | None = _build(Traffic, rule) if rule.traffic else None
    period = {} if rule.period_s is None else {"period_s": rule.period_s}
    return TimeOfDay(
        busy=_windows(rule.busy),
        quiet=_windows(rule.quiet),
        by_traffic=_windows(rule.traffic),
        traffic=traffic,
        zone=None if rule.zone is None else ZoneInfo(rule.zone),
        **period,
    )


def _windows(texts: Iterable[str] | None) -> tuple[Window, ...]:
    return tuple(parse_window(text) for text in texts or ())
