from __future__ import annotations

from zoneinfo import ZoneInfo

from orchestrator.policy.compile import orders_for, policy_of
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.rule import PolicyKind, PolicyRule, Workload
from orchestrator.policy.subject import PolicyOrder
from orchestrator.policy.timetable import parse_window
from tests.policy.test_rule import GOOD

UUID = "5579e6cd-caca-4c68-8934-da43e4863198"


def low(match: str, vcpus: str | None = None) -> PolicyRule:
    kind = PolicyKind.WORKLOAD
    return PolicyRule(match=match, kind=kind, workload=Workload.LOW, vcpus=vcpus)


def chosen(*rules: PolicyRule) -> dict[str, frozenset[int] | None]:
    orders = orders_for(rules, uuid=UUID, name="dpdk-7", vcpus=range(4))
    return {name: order.vcpus for name, order in orders.items()}


def test_rules_match_names_and_uuids() -> None:
    assert chosen(low("web-*"), low("DPDK-*")) == {}
    assert chosen(low("dpdk-*")) == {"dpdk-*[0]": None}
    assert chosen(low(UUID)) == {f"{UUID}[0]": None}


def test_each_vcpu_belongs_to_the_first_rule_that_covers_it() -> None:
    assert chosen(low("dpdk-7", "1-2,9"), low("dpdk-*", "2-3"), low("*"), low("*")) == {
        "dpdk-7[0]": frozenset({1, 2}),
        "dpdk-*[1]": frozenset({3}),
        "*[2]": frozenset({0}),
    }


def test_every_kind_of_rule_becomes_its_policy() -> None:
    assert [policy_of(rule) for rule in GOOD] == [
        Traffic(avg_pps=1, max_pps=2, period_s=0.5),
        TimeOfDay(busy=(parse_window("mon 08:00-09:00"),)),
        TimeOfDay(
            by_traffic=(parse_window("sat"),),
            traffic=Traffic(avg_pps=0, max_pps=0),
            zone=ZoneInfo("Asia/Kathmandu"),
        ),
        FixedWorkload(workload=Workload.LOW),
        BranchRatio(threshold_percent=0.3),
        Utilisation(up_above=0.5, down_below=0.5),
    ]


def test_mac_addresses_are_compared_in_one_form() -> None:
    (order,) = orders_for(GOOD[2:3], uuid=UUID, name="x", vcpus=[0]).values()
    assert order == PolicyOrder(
        policy=policy_of(GOOD[2]),
        vcpus=None,
        macs=frozenset({"52:54:00:12:34:56"}),
    )
