"""Policies in one line, read and written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.policy.compile import order_of
from orchestrator.policy.rule import PolicyKind, PolicyRule, Workload
from orchestrator.policy.text import (
    LONGEST,
    describe,
    format_policies,
    format_policy,
    parse_policies,
)
from orchestrator.values.cpuset import parse_cpulist


def rule(kind: PolicyKind, **options: Any) -> PolicyRule:
    return PolicyRule(match="*", kind=kind, **options)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", ()),
        (" ; ", ()),
        ("utilisation", (rule(PolicyKind.UTILISATION),)),
        (
            "utilisation up-above=0.9 calm_samples=2 vcpus=2-5",
            (rule(PolicyKind.UTILISATION, up_above=0.9, calm_samples=2, vcpus="2-5"),),
        ),
        ("workload high", (rule(PolicyKind.WORKLOAD, workload=Workload.HIGH),)),
        ("workload workload=low", (rule(PolicyKind.WORKLOAD, workload=Workload.LOW),)),
        (
            "time-of-day busy='mon-fri 08:00-18:00' busy=sat quiet=22:00-06:00",
            (
                rule(
                    PolicyKind.TIME_OF_DAY,
                    busy=("mon-fri 08:00-18:00", "sat"),
                    quiet=("22:00-06:00",),
                ),
            ),
        ),
        (
            "workload low vcpus=0;branch-ratio vcpus=1",
            (
                rule(PolicyKind.WORKLOAD, workload=Workload.LOW, vcpus="0"),
                rule(PolicyKind.BRANCH_RATIO, vcpus="1"),
            ),
        ),
    ],
)
def test_what_people_write_is_what_they_mean(
    text: str, meant: tuple[PolicyRule, ...]
) -> None:
    assert parse_policies(text) == meant
    assert parse_policies(format_policies(meant)) == meant


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("speed", "'speed' is no kind of policy"),
        ("utilisation fast", "'fast' is no option"),
        ("utilisation up-above=much", "up-above: 'much' cannot be meant"),
        ("utilisation up-above=nan", "must be in order"),
        ("utilisation up-above=0.9 up-above=0.8", "said twice"),
        ("utilisation avg-pps=3", "avg_pps: means nothing to kind 'utilisation'"),
        ("traffic avg-pps=3", "max_pps: missing"),
        ("workload", "workload: missing"),
        ("workload match=x", "'match=x' is no option"),
        ("time-of-day busy='08:00", "No closing quotation"),
        ("x" * (LONGEST + 1), "4097 characters"),
    ],
)
def test_what_cannot_be_meant_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policies(text)
    assert complaint in str(caught.value)


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        rules = parse_policies(text)
    except ConfigError:
        return
    assert parse_policies(format_policies(rules)) == rules


def test_one_policy_is_written_shortly() -> None:
    assert format_policy(rule(PolicyKind.UTILISATION, up_above=0.9)) == (
        "utilisation up-above=0.9"
    )


@pytest.mark.parametrize(
    "text",
    [
        "utilisation",
        "utilisation up-above=0.9 down-below=0.25 calm-samples=5 period-s=0.5",
        "workload high vcpus=0-2",
        "branch-ratio threshold-percent=0.5",
        "traffic avg-pps=10 max-pps=20 macs=52:54:00:12:34:56",
        "time-of-day busy=sat 'quiet=mon,fri 22:30-06:00' zone=Europe/Berlin",
        "time-of-day quiet=00:00-24:00 traffic=08:00-09:00 avg-pps=1 max-pps=2",
    ],
)
def test_a_policy_at_work_is_described_as_it_could_have_been_typed(text: str) -> None:
    (meant,) = parse_policies(text)
    vcpus = None if meant.vcpus is None else parse_cpulist(meant.vcpus)
    order = order_of(meant, vcpus)
    (again,) = parse_policies(describe(order))
    assert order_of(again, vcpus) == order
    assert describe(order_of(again, vcpus)) == describe(order)
