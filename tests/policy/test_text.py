# SPDX-License-Identifier: Apache-2.0
"""Policies in one line, read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.policy.compile import order_of
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.energy_preference import PreferredEnergy
from orchestrator.policy.kinds.idle_latency import IdleLatency
from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.rule import PolicyRule, make_rule
from orchestrator.policy.subject import PolicyOrder
from orchestrator.policy.text import (
    LONGEST,
    describe,
    format_policies,
    format_policy,
    parse_policies,
)
from orchestrator.policy.timetable import whole_hours
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import Policy


def rule(kind: type[Policy[Any, Any]], **options: Any) -> PolicyRule:
    return make_rule("*", kind.kind, options)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", ()),
        (" ; ", ()),
        ("utilisation", (rule(Utilisation),)),
        (
            "utilisation up-above=0.9 down_after_samples=2 vcpus=2-5",
            (rule(Utilisation, up_above=0.9, down_after_samples=2, vcpus="2-5"),),
        ),
        ("workload high", (rule(FixedWorkload, workload="high"),)),
        ("workload workload=low", (rule(FixedWorkload, workload="low"),)),
        (
            "time-of-day busy='mon-fri 08:00-18:00' busy=sat quiet=22:00-06:00",
            (
                rule(
                    TimeOfDay,
                    busy=("mon-fri 08:00-18:00", "sat"),
                    quiet=("22:00-06:00",),
                ),
            ),
        ),
        (
            "workload low vcpus=0;branch-ratio vcpus=1",
            (
                rule(FixedWorkload, workload="low", vcpus="0"),
                rule(BranchRatio, vcpus="1"),
            ),
        ),
        (
            "latency=20us vcpus=2-5; epp=balance_power",
            (
                rule(IdleLatency, idle_latency_us=20, vcpus="2-5"),
                rule(PreferredEnergy, epp="balance_power"),
            ),
        ),
        ("latency 20", (rule(IdleLatency, idle_latency_us=20),)),
        (
            "workload=low idle-latency-us=20",
            (rule(FixedWorkload, workload="low", idle_latency_us=20),),
        ),
    ],
)
def test_text_becomes_rules_and_rules_become_text(
    text: str, rules: tuple[PolicyRule, ...]
) -> None:
    assert parse_policies(text) == rules
    assert parse_policies(format_policies(rules)) == rules


def test_the_former_name_of_an_option_is_read_and_the_present_one_written() -> None:
    (found,) = parse_policies("utilisation calm-samples=5")
    assert found == rule(Utilisation, down_after_samples=5)
    assert format_policy(found) == "utilisation down-after-samples=5"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "speed",
            (
                "unknown policy kind 'speed': expected traffic, packet-rate,"
                " time-of-day, workload, branch-ratio, utilisation, latency or epp"
            ),
        ),
        (
            "utilization",
            "unknown policy kind 'utilization'; did you mean 'utilisation'?",
        ),
        (
            "utilisation fast",
            (
                "invalid option 'fast': expected up-above=..., down-below=...,"
                " down-after-samples=..., period-s=..., vcpus=...,"
                " idle-latency-us=... or epp=..."
            ),
        ),
        (
            "traffic=5",
            (
                "invalid option '5': expected avg-pps=..., max-pps=..., period-s=...,"
                " vcpus=..., macs=..., idle-latency-us=... or epp=..."
            ),
        ),
        (
            "latency=20ms",
            (
                "invalid value '20ms': expected a whole number of microseconds from 0"
                " to 1000000"
            ),
        ),
        (
            "workload low idle-latency-us=20us",
            (
                "idle-latency-us: invalid value '20us': expected a whole number of"
                " microseconds from 0 to 1000000"
            ),
        ),
        (
            "utilisation up-abov=1",
            (
                "up-abov: unknown option of policy kind 'utilisation';"
                " did you mean 'up-above'?"
            ),
        ),
        (
            "utilisation up=1",
            "up: unknown option of policy kind 'utilisation'; did you mean 'up-above'?",
        ),
        (
            "traffic foo=1",
            (
                "foo: unknown option of policy kind 'traffic': expected avg-pps,"
                " max-pps, period-s, vcpus, macs, idle-latency-us or epp"
            ),
        ),
        (
            "utilisation up-above=much",
            "up-above: invalid value 'much': expected a number from 0 to 1",
        ),
        (
            "utilisation up-above=nan",
            "up-above: invalid value 'nan': expected a number from 0 to 1",
        ),
        ("utilisation up-above=0.9 up_above=0.8", "up-above: given twice"),
        (
            "utilisation calm-samples=2 down-after-samples=3",
            "down-after-samples: given twice",
        ),
        (
            "utilisation down-below=0.5 up-above=0.4",
            "down-below: 0.5 is above up-above 0.4",
        ),
        (
            "traffic avg-pps=3",
            (
                "max-pps: missing, expected a whole number of packets per second, 0 or"
                " more"
            ),
        ),
        ("traffic avg-pps=3 max-pps=2", "avg-pps: 3 is above max-pps 2"),
        (
            "time-of-day busy=9-17",
            "busy: invalid time '9-17': expected 09:00-17:00 or mon-fri 08:00-18:00",
        ),
        ("workload", "workload: missing, expected high, medium or low"),
        (
            "workload fast",
            "workload: invalid value 'fast': expected high, medium or low",
        ),
        (
            "workload match=x",
            (
                "match: unknown option of policy kind 'workload': expected workload,"
                " period-s, vcpus, idle-latency-us or epp"
            ),
        ),
        (
            "time-of-day busy='08:00",
            "invalid policies 'time-of-day busy='08:00': no closing quotation",
        ),
        (
            "x" * (LONGEST + 1),
            "policies are too long: 4097 characters, at most 4096",
        ),
    ],
)
def test_an_error_names_what_is_typed_and_what_is_expected(
    text: str, error: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policies(text)
    assert str(caught.value) == error


@pytest.mark.fuzz
@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        rules = parse_policies(text)
    except ConfigError:
        return
    assert parse_policies(format_policies(rules)) == rules


_PIECES = st.sampled_from(
    [
        *("traffic", "time-of-day", "workload", "branch-ratio", "utilisation", ";"),
        *("avg-pps=1", "max-pps=2", "busy=sat", "traffic=sun", "zone=UTC", "high"),
        *("vcpus=0-3", "macs=52:54:00:12:34:56", "period-s=1", "calm-samples=2", "'"),
    ]
)


@given(st.lists(_PIECES, max_size=6).map(" ".join))
def test_policies_that_can_be_read_are_described_as_they_can_be_read_again(
    text: str,
) -> None:
    try:
        rules = parse_policies(text)
    except ConfigError:
        return
    for found in rules:
        vcpus = None if found.vcpus is None else parse_cpulist(found.vcpus)
        order = order_of(found, vcpus)
        (again,) = parse_policies(describe(order))
        assert order_of(again, vcpus) == order


def test_an_option_is_written_only_if_it_is_set() -> None:
    assert format_policy(rule(Utilisation, up_above=0.9)) == "utilisation up-above=0.9"


@pytest.mark.parametrize(
    "text",
    [
        "utilisation",
        "utilisation up-above=0.9 down-below=0.25 down-after-samples=5 period-s=0.5",
        "workload high vcpus=0-2",
        "branch-ratio threshold-percent=0.5",
        "traffic avg-pps=10 max-pps=20 macs=52:54:00:12:34:56",
        (
            "time-of-day busy='sat 00:00-24:00' 'quiet=mon,fri 22:30-06:00'"
            " zone=Europe/Berlin"
        ),
        "time-of-day quiet=00:00-24:00 traffic=08:00-09:00 avg-pps=1 max-pps=2",
        "latency=20us vcpus=1",
        "epp=100",
        "workload low idle-latency-us=0 epp=power",
    ],
)
def test_a_policy_in_force_is_described_as_it_could_have_been_typed(text: str) -> None:
    (found,) = parse_policies(text)
    vcpus = None if found.vcpus is None else parse_cpulist(found.vcpus)
    order = order_of(found, vcpus)
    described = describe(order)
    assert parse_policies(described) == parse_policies(text)
    assert describe(order_of(parse_policies(described)[0], vcpus)) == described


def test_times_of_traffic_without_interfaces_are_not_part_of_the_text() -> None:
    hours = whole_hours([8])
    policy = TimeOfDay(busy=hours, traffic=hours)
    assert describe(PolicyOrder(policy=policy)) == "time-of-day busy=08:00-09:00"
