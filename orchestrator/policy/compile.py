# SPDX-License-Identifier: Apache-2.0
"""The rules of the configuration as policies of a domain; pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from orchestrator.policy.kinds.contract import Concern
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.rule import parse_mac
from orchestrator.policy.subject import PolicyOrder
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from orchestrator.policy.rule import PolicyRule


def orders_for(
    rules: Iterable[PolicyRule], *, uuid: str, name: str, vcpus: Collection[int]
) -> dict[str, PolicyOrder]:
    """Return the policies that rules give a domain.

    Args:
        rules: in the order of the configuration, without problems.
        uuid: the domain's.
        name: the domain's.
        vcpus: those that it has; of the rules that decide the same, each belongs to
            the first one that covers it. A rule that covers all of them also covers
            those that are hot-plugged later.

    Returns:
        By the rule's place and match, which identify it.
    """
    left = {concern: set(vcpus) for concern in Concern}
    orders = {}
    for place, rule in enumerate(rules):
        if rule.match != uuid and not fnmatchcase(name, rule.match):
            continue
        concern = KINDS[rule.kind].concern
        covered = left[concern]
        if rule.vcpus is not None:
            covered = covered & parse_cpulist(rule.vcpus)
        if covered:
            is_whole = covered == set(vcpus)
            name_of_rule = f"{rule.match}[{place}]"
            orders[name_of_rule] = order_of(
                rule, None if is_whole else frozenset(covered)
            )
        left[concern] = left[concern] - covered
    return orders


def order_of(rule: PolicyRule, vcpus: frozenset[int] | None) -> PolicyOrder:
    """Make a policy of a rule, for these vCPUs; None: all."""
    macs = None if rule.macs is None else frozenset(map(parse_mac, rule.macs))
    return PolicyOrder(
        policy=rule.build_policy(),
        vcpus=vcpus,
        macs=macs,
        attributes=rule.build_attributes(),
    )
