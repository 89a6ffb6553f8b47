# SPDX-License-Identifier: Apache-2.0
"""Rules: read from tables of the configuration, checked, made policies."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orchestrator.errors import ConfigError
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.energy_preference import PreferredEnergy
from orchestrator.policy.kinds.idle_latency import IdleLatency
from orchestrator.policy.kinds.packet_rate import PacketRate
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.rule import (
    PolicyRule,
    find_problems,
    make_rule,
    parse_mac,
    read_rule,
)
from orchestrator.policy.timetable import parse_window
from orchestrator.values.cpu_attributes import CpuAttributes
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.units import Microseconds


def rule_of(kind: str, **options: Any) -> dict[str, Any]:
    return {"match": "*", "kind": kind, **options}


GOOD: list[tuple[dict[str, Any], object]] = [
    (
        rule_of("traffic", avg_pps=1, max_pps=2, period_s=0.5),
        Traffic(avg_pps=1, max_pps=2, period_s=0.5),
    ),
    (
        rule_of("time-of-day", busy=["mon 08:00-09:00"]),
        TimeOfDay(busy=(parse_window("mon 08:00-09:00"),)),
    ),
    (
        rule_of(
            "time-of-day",
            traffic=["sat"],
            avg_pps=0,
            max_pps=0,
            macs=["52-54-00-12-34-56"],
            zone="Asia/Kathmandu",
            vcpus="0-3,^1",
        ),
        TimeOfDay(
            traffic=(parse_window("sat"),),
            avg_pps=0,
            max_pps=0,
            zone=ZoneInfo("Asia/Kathmandu"),
        ),
    ),
    (rule_of("workload", workload="low"), FixedWorkload(workload=Workload.LOW)),
    (
        rule_of("branch-ratio", threshold_percent=0.3),
        BranchRatio(threshold_percent=0.3),
    ),
    (
        rule_of("packet-rate", capacity_pps=7_000_000, target_load=0.25),
        PacketRate(capacity_pps=7_000_000, target_load=0.25),
    ),
    (
        rule_of("utilisation", up_above=1, down_below=0.5),
        Utilisation(up_above=1.0, down_below=0.5),
    ),
    (
        rule_of("latency", idle_latency_us=20, vcpus="2"),
        IdleLatency(idle_latency_us=Microseconds(20)),
    ),
    (
        rule_of("epp", epp="255"),
        PreferredEnergy(epp=EnergyPreference("power")),
    ),
]


def read(table: dict[str, Any]) -> PolicyRule:
    rule, problems = read_rule(table)
    assert problems == []
    assert rule is not None
    return rule


@pytest.mark.parametrize(("table", "policy"), GOOD, ids=lambda it: str(it)[:40])
def test_a_table_becomes_a_rule_and_a_rule_a_policy(
    table: dict[str, Any], policy: object
) -> None:
    rule = read(table)
    assert (rule.match, rule.kind) == ("*", table["kind"])
    assert rule.vcpus == table.get("vcpus")
    assert rule.macs == (tuple(table["macs"]) if "macs" in table else None)
    assert rule.build_policy() == policy
    assert list(find_problems(rule)) == []


def test_every_kind_has_a_rule_here() -> None:
    assert {table["kind"] for table, _ in GOOD} == set(KINDS)


@pytest.mark.parametrize(("table", "policy"), GOOD, ids=lambda it: str(it)[:40])
def test_a_rule_is_shown_with_its_defaults_and_can_be_read_again(
    table: dict[str, Any], policy: object
) -> None:
    shown = read(table).to_table()
    as_toml = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in shown.items()
        if value is not None
    }
    assert table.items() <= as_toml.items()
    assert ("period_s" in shown) is KINDS[table["kind"]].is_voting()
    assert read(as_toml).build_policy() == policy


def test_what_a_policy_that_votes_holds_besides_is_no_option_of_the_policy() -> None:
    rule = read(rule_of("workload", workload="low", idle_latency_us=20, epp="power"))
    assert rule.build_policy() == FixedWorkload(workload=Workload.LOW)
    held = CpuAttributes(Microseconds(20), EnergyPreference("power"))
    assert rule.build_attributes() == held
    alone = read(rule_of("latency", idle_latency_us=20))
    assert alone.build_attributes() == CpuAttributes()


TIME = "time-of-day"
BAD = [
    ({"kind": "utilisation"}, "match", "missing"),
    ({"match": 5, "kind": "utilisation"}, "match", "expected text, got 5"),
    (
        {"match": "*"},
        "kind",
        (
            "missing, expected traffic, packet-rate, time-of-day, workload,"
            " branch-ratio, utilisation, latency or epp"
        ),
    ),
    (
        rule_of("utilization"),
        "kind",
        "unknown policy kind 'utilization'; did you mean 'utilisation'?",
    ),
    (
        rule_of("fast"),
        "kind",
        (
            "unknown policy kind 'fast': expected traffic, packet-rate, time-of-day,"
            " workload, branch-ratio, utilisation, latency or epp"
        ),
    ),
    (
        rule_of("traffic", avg_pps=1),
        "max_pps",
        "missing, expected a whole number of packets per second, 0 or more",
    ),
    (rule_of("traffic", avg_pps=3, max_pps=2), "avg_pps", "3 is above max_pps 2"),
    (
        rule_of("traffic", avg_pps=-1, max_pps=2),
        "avg_pps",
        "invalid value '-1': expected a whole number of packets per second, 0 or more",
    ),
    (
        rule_of("traffic", avg_pps=1.5, max_pps=2),
        "avg_pps",
        "expected a whole number of packets per second, 0 or more, got 1.5",
    ),
    (
        rule_of("traffic", avg_pps=True, max_pps=2),
        "avg_pps",
        "expected a whole number of packets per second, 0 or more, got True",
    ),
    (
        rule_of(TIME),
        "busy",
        "missing, expected at least one of busy, quiet and traffic",
    ),
    (
        rule_of(TIME, quiet=["9-17"]),
        "quiet",
        "invalid time '9-17': expected 09:00-17:00 or mon-fri 08:00-18:00",
    ),
    (
        rule_of(TIME, quiet="09:00-17:00"),
        "quiet",
        "expected a list of times, got '09:00-17:00'",
    ),
    (rule_of(TIME, quiet=[9]), "quiet", "expected a time, got 9"),
    (rule_of(TIME, traffic=["sat"]), "avg_pps", "missing, expected with traffic"),
    (
        rule_of(TIME, traffic=["sat"], avg_pps=3, max_pps=2),
        "avg_pps",
        "3 is above max_pps 2",
    ),
    *(
        (
            rule_of(TIME, busy=["sat"], zone=zone),
            "zone",
            f"invalid time zone '{zone}': expected a name such as Europe/Berlin",
        )
        for zone in ("Mars/Base", "../etc", "")
    ),
    (
        rule_of(TIME, busy=["sat"], macs=["5"]),
        "macs",
        "invalid MAC address '5': expected 52:54:00:12:34:56",
    ),
    (rule_of("workload"), "workload", "missing, expected high, medium or low"),
    (
        rule_of("workload", workload="fast"),
        "workload",
        "invalid value 'fast': expected high, medium or low",
    ),
    (
        rule_of("workload", workload=1),
        "workload",
        "expected high, medium or low, got 1",
    ),
    (
        rule_of("workload", workload="low", busy=[]),
        "busy",
        (
            "unknown option of policy kind 'workload': expected workload, period_s,"
            " vcpus, idle_latency_us or epp"
        ),
    ),
    (
        rule_of("utilisation", macs=[]),
        "macs",
        (
            "unknown option of policy kind 'utilisation': expected up_above,"
            " down_below, down_after_samples, period_s, vcpus, idle_latency_us or epp"
        ),
    ),
    (
        rule_of("latency", idle_latency_us=-1),
        "idle_latency_us",
        (
            "invalid value '-1': expected a whole number of microseconds from 0 to"
            " 1000000"
        ),
    ),
    (
        rule_of("latency", idle_latency_us=20, epp="power"),
        "epp",
        "unknown option of policy kind 'latency': expected idle_latency_us or vcpus",
    ),
    (
        rule_of("traffic", avg_pps=1, max_pps=2, epp="fast"),
        "epp",
        (
            "invalid energy preference 'fast': expected performance,"
            " balance_performance, balance_power, power, or 0 to 255"
        ),
    ),
    (
        rule_of("utilisation", up_abov=1.0),
        "up_abov",
        "unknown option of policy kind 'utilisation'; did you mean 'up_above'?",
    ),
    (
        rule_of("branch-ratio", threshold_percent=101.0),
        "threshold_percent",
        "invalid value '101.0': expected a number from 0 to 100",
    ),
    (
        rule_of("branch-ratio", period_s=0.0),
        "period_s",
        "invalid value '0.0': expected a number of seconds from 0.001 to 3600",
    ),
    (
        rule_of("branch-ratio", vcpus=""),
        "vcpus",
        "invalid list of vCPUs '': expected 0-3,8",
    ),
    (
        rule_of("branch-ratio", vcpus=3),
        "vcpus",
        "expected a list of vCPUs, got 3",
    ),
    (rule_of("utilisation", up_above=0.4), "down_below", "0.5 is above up_above 0.4"),
    (
        rule_of("utilisation", up_above=float("nan")),
        "up_above",
        "invalid value 'nan': expected a number from 0 to 1",
    ),
    (
        rule_of("utilisation", down_after_samples=0),
        "down_after_samples",
        "invalid value '0': expected a whole number, 1 or more",
    ),
    (
        rule_of("utilisation", period_s=10**400),
        "period_s",
        f"invalid value '{10**400}': expected a number of seconds from 0.1 to 3600",
    ),
    (
        rule_of("utilisation", period_s=0.01),
        "period_s",
        "invalid value '0.01': expected a number of seconds from 0.1 to 3600",
    ),
    (
        rule_of("utilisation", calm_samples=2, down_after_samples=2),
        "calm_samples",
        "former name of down_after_samples: give one",
    ),
]


@pytest.mark.parametrize(
    ("table", "option", "text"), BAD, ids=lambda item: str(item)[:40]
)
def test_a_problem_names_the_option_and_what_is_expected(
    table: dict[str, Any], option: str, text: str
) -> None:
    rule, problems = read_rule(table)
    assert rule is None
    assert (option, text) in problems


def test_all_problems_of_a_rule_are_found_at_once() -> None:
    table = rule_of("traffic", avg_pps=-1, vcpus="", period_s=0)
    _, problems = read_rule(table)
    assert {problem.option for problem in problems} == {
        *("avg_pps", "max_pps", "vcpus", "period_s")
    }


def test_names_of_other_options_are_spelled_as_the_caller_spells_them() -> None:
    rule = make_rule("*", Utilisation.kind, {"up_above": 0.1})
    (problem,) = find_problems(rule, lambda name: name.upper())
    assert problem.text == "0.5 is above UP_ABOVE 0.1"


def test_the_former_name_of_an_option_is_still_read() -> None:
    rule = read(rule_of("utilisation", calm_samples=7))
    assert rule.options == {"down_after_samples": 7}
    assert rule.build_policy() == Utilisation(down_after_samples=7)


@pytest.mark.parametrize(
    "text", ["52:54:00:aB:34:56", "52-54-00-AB-34-56", "5254:00ab:3456"]
)
def test_a_mac_address_has_one_form(text: str) -> None:
    assert parse_mac(text) == "52:54:00:ab:34:56"


@pytest.mark.parametrize(
    "text", ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "+2:54:00:12:34:5g", "x"]
)
def test_an_invalid_mac_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid MAC address"):
        parse_mac(text)
