# SPDX-License-Identifier: Apache-2.0
"""A policy kind is one module and a line in the table; everything else follows."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import typer

from cli.commands.policy import PolicySetCommand
from cli.completion.candidates import policy_arguments
from examples.contributing.policy_kind import AnyTraffic
from orchestrator.config_files import config_from, show_config
from orchestrator.domain_xml.metadata import build_settings
from orchestrator.errors import ConfigError
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.text import describe, format_policy, parse_policies
from orchestrator.reporting.status import render_policy
from orchestrator.values.domain_settings import DomainSettings
from scripts.manual.policies import policy_keys
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain
from tests.policy.engine_harness import MAC, MAX, MIN, RULE, UUID, EngineHarness, order
from tests.policy.vcpu_samples import NOON

KIND = "any-traffic"
TEXT = "any-traffic pause-s=2.0 vcpus=0"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in the table."""
    table = cast("dict[str, Any]", KINDS)
    monkeypatch.setitem(table, AnyTraffic.kind, AnyTraffic)


def test_its_text_is_parsed_and_formatted() -> None:
    (rule,) = parse_policies(TEXT)
    assert rule.build_policy() == AnyTraffic(pause_s=2.0)
    assert format_policy(rule) == TEXT
    assert describe(order(rule.build_policy(), 0)) == TEXT
    assert describe(order(AnyTraffic())) == KIND


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("any-trafic", "unknown policy kind 'any-trafic'; did you mean 'any-traffic'?"),
        ("any-traffic pause-s=0.1", "pause-s: 0.1 is below period-s 0.5"),
        (
            "any-traffic pause-s=x",
            "pause-s: invalid value 'x': expected a number of seconds from 0 to 3600",
        ),
        (
            "any-traffic avg-pps=1",
            (
                "avg-pps: unknown option of policy kind 'any-traffic': expected"
                " pause-s, period-s, vcpus, macs, idle-latency-us or epp"
            ),
        ),
    ],
)
def test_its_errors_name_its_options(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policies(text)
    assert str(caught.value) == error


def test_the_configuration_and_metadata_have_it() -> None:
    table: dict[str, Any] = {"match": "*", "kind": KIND, "pause_s": 2, "macs": [MAC]}
    config = config_from({"policy": [table]})
    assert config.policy[0].build_policy() == AnyTraffic(pause_s=2.0)
    (shown,) = json.loads(show_config(config))["policy"]
    assert table.items() <= shown.items()
    assert TEXT in build_settings(DomainSettings(policies=TEXT))
    with pytest.raises(ConfigError, match=r"pause_s: 0\.1 is below period_s"):
        config_from({"policy": [table | {"pause_s": 0.1}]})


def test_the_engine_runs_it() -> None:
    harness = EngineHarness()
    harness.engine.install(UUID, RULE, order(AnyTraffic(pause_s=2.0)))
    harness.tick()
    assert harness.new_votes() == {}
    harness.packets[MAC] += 1
    harness.tick(0.5)
    assert harness.new_votes() == {0: MAX, 1: MAX}
    harness.tick(1.0)
    assert harness.new_votes() == {}
    harness.tick(1.0)
    assert harness.new_votes() == {0: MIN, 1: MIN}
    harness.packets[MAC] += 1
    harness.tick(0.5)
    assert harness.new_votes() == {0: MAX, 1: MAX}
    harness.failure = "vnet0 is gone"
    harness.tick(0.5)
    assert harness.new_votes() == {0: None, 1: None}


def test_a_rule_gives_it_to_domains_and_the_status_shows_it() -> None:
    rule = {"match": "*", "kind": KIND}
    host = SimulatedHost(config_from({"policy": [rule]}))
    spec = domain(channels=())
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    assert [report.text for report in host.reports if report.kind == "policy"] == [
        "policy any-traffic of rule *[0] is in force"
    ]
    (status,) = host.engine.statuses()
    shown = render_policy(status, NOON)
    assert (shown.kind, shown.text) == (KIND, KIND)


def test_help_completion_and_the_manual_have_it() -> None:
    explained = dict(PolicySetCommand("set").sections()["Kinds"])
    assert explained[KIND] == AnyTraffic.summary()
    assert explained["  pause-s=..."].endswith(
        "[number of seconds from 0 to 3600; default: 5]"
    )
    manual = "\n".join(policy_keys())
    assert r"\fBpause_s\fR (number of seconds from 0 to 3600; default: 5)" in manual
    assert (KIND, AnyTraffic.summary()) in policy_arguments(after(), "any")
    offered = dict(policy_arguments(after(KIND), "p"))
    shared = {"vcpus=", "macs=", "idle-latency-us=", "epp="}
    assert offered.keys() == {"pause-s=", "period-s="} | shared


def after(*words: str) -> typer.Context:
    """Return the context of a completion after some words of a policy."""
    context = typer.Context(PolicySetCommand("set"))
    context.params = {"policy": words}
    return context
