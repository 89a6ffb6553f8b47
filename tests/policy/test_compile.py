# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from orchestrator.policy.compile import orders_for
from orchestrator.policy.kinds.idle_latency import IdleLatency
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.rule import PolicyRule, make_rule
from orchestrator.policy.subject import PolicyOrder

UUID = "5579e6cd-caca-4c68-8934-da43e4863198"


def low(match: str, vcpus: str | None = None) -> PolicyRule:
    return PolicyRule(
        match=match, kind=FixedWorkload.kind, vcpus=vcpus, options={"workload": "low"}
    )


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


def test_rules_compete_only_for_what_they_decide() -> None:
    latency = PolicyRule(
        match="*", kind=IdleLatency.kind, options={"idle_latency_us": 20}
    )
    assert chosen(low("*", "0"), latency, low("*"), latency) == {
        "*[0]": frozenset({0}),
        "*[1]": None,
        "*[2]": frozenset({1, 2, 3}),
    }


def test_mac_addresses_are_compared_in_one_form() -> None:
    options = {"avg_pps": 1, "max_pps": 2, "macs": ("52-54-00-12-34-56",)}
    rule = make_rule("*", Traffic.kind, options)
    (order,) = orders_for([rule], uuid=UUID, name="x", vcpus=[0]).values()
    assert order == PolicyOrder(
        policy=Traffic(avg_pps=1, max_pps=2),
        vcpus=None,
        macs=frozenset({"52:54:00:12:34:56"}),
    )
