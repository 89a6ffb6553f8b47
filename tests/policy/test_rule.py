from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError
from orchestrator.policy.rule import (
    PolicyKind,
    PolicyRule,
    Workload,
    find_contradictions,
    parse_mac,
)

GOOD = [
    PolicyRule(match="*", kind=PolicyKind.TRAFFIC, avg_pps=1, max_pps=2, period_s=0.5),
    PolicyRule(match="*", kind=PolicyKind.TIME_OF_DAY, busy=("mon 08:00-09:00",)),
    PolicyRule(
        match="*",
        kind=PolicyKind.TIME_OF_DAY,
        traffic=("sat",),
        avg_pps=0,
        max_pps=0,
        macs=("52-54-00-12-34-56",),
        zone="Asia/Kathmandu",
        vcpus="0-3,^1",
    ),
    PolicyRule(match="*", kind=PolicyKind.WORKLOAD, workload=Workload.LOW),
    PolicyRule(match="*", kind=PolicyKind.BRANCH_RATIO, threshold_percent=0.3),
    PolicyRule(match="*", kind=PolicyKind.UTILISATION, up_above=0.5, down_below=0.5),
]


@pytest.mark.parametrize("rule", GOOD, ids=lambda rule: rule.kind)
def test_a_rule_that_makes_sense_has_no_contradictions(rule: PolicyRule) -> None:
    assert list(find_contradictions(rule)) == []


TIME = PolicyKind.TIME_OF_DAY
BAD = [
    (PolicyRule(match="*", kind=PolicyKind.TRAFFIC, avg_pps=1), "max_pps: missing"),
    (
        PolicyRule(match="*", kind=PolicyKind.TRAFFIC, avg_pps=3, max_pps=2),
        "avg_pps 3 is above max_pps 2",
    ),
    (
        PolicyRule(match="*", kind=PolicyKind.TRAFFIC, avg_pps=-1, max_pps=2),
        "avg_pps: negative",
    ),
    (PolicyRule(match="*", kind=TIME), "busy, quiet, traffic: all missing"),
    (
        PolicyRule(match="*", kind=TIME, quiet=("8-9",)),
        "quiet: '8' in '8-9' is no time",
    ),
    (PolicyRule(match="*", kind=TIME, traffic=("sat",)), "avg_pps: missing"),
    (PolicyRule(match="*", kind=TIME, busy=("sat",), zone="Mars/Base"), "zone: no"),
    (PolicyRule(match="*", kind=TIME, busy=("sat",), zone="../etc"), "zone: no"),
    (PolicyRule(match="*", kind=TIME, busy=("sat",), zone=""), "zone: no"),
    (PolicyRule(match="*", kind=TIME, busy=("sat",), macs=("5",)), "macs: '5' is no"),
    (PolicyRule(match="*", kind=PolicyKind.WORKLOAD), "workload: missing"),
    (
        PolicyRule(match="*", kind=PolicyKind.WORKLOAD, workload=Workload.LOW, busy=()),
        "busy: means nothing to kind 'workload'",
    ),
    (
        PolicyRule(match="*", kind=PolicyKind.BRANCH_RATIO, threshold_percent=101.0),
        "threshold_percent: 101.0",
    ),
    (
        PolicyRule(match="*", kind=PolicyKind.BRANCH_RATIO, period_s=0.0),
        "period_s: 0.0 is not between",
    ),
    (
        PolicyRule(match="*", kind=PolicyKind.BRANCH_RATIO, vcpus=""),
        "vcpus: names none",
    ),
    (
        PolicyRule(match="*", kind=PolicyKind.BRANCH_RATIO, vcpus="a"),
        "vcpus: invalid vCPU 'a'",
    ),
    (PolicyRule(match="*", kind=PolicyKind.UTILISATION, up_above=0.4), "down_below"),
    (
        PolicyRule(match="*", kind=PolicyKind.UTILISATION, calm_samples=0),
        "calm_samples: less than 1",
    ),
    (
        PolicyRule(match="*", kind=PolicyKind.UTILISATION, period_s=0.01),
        "period_s: libvirt",
    ),
]


@pytest.mark.parametrize(("rule", "word"), BAD, ids=lambda item: str(item)[:40])
def test_a_rule_that_makes_no_sense_is_told_so(rule: PolicyRule, word: str) -> None:
    assert any(said.startswith(word) for said in find_contradictions(rule))


@pytest.mark.parametrize(
    "text", ["52:54:00:aB:34:56", "52-54-00-AB-34-56", "5254:00ab:3456"]
)
def test_a_mac_address_has_one_form(text: str) -> None:
    assert parse_mac(text) == "52:54:00:ab:34:56"


@pytest.mark.parametrize(
    "text", ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "+2:54:00:12:34:5g", "x"]
)
def test_what_is_no_mac_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_mac(text)
