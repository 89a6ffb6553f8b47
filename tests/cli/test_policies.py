# SPDX-License-Identifier: Apache-2.0
"""`vmpower policy`, with a fake daemon on real sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.output.tables.plain import render_plain
from cli.output.tables.policies import build_policies
from orchestrator.control.documents import PolicyList, PolicyOfDomain
from tests.control.fake_host import FIREWALL, STEPS

if TYPE_CHECKING:
    from tests.cli.conftest import Vmpower
    from tests.control.fake_daemon import FakeDaemon


def test_a_policy_is_set_listed_and_removed(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    done = vmpower("policy", "set", "dpdk-fw", "utilisation", "up-above=0.9")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == ("dpdk-fw: operator (default): utilisation up-above=0.9\n")
    *before, policy = daemon.domains[FIREWALL].policies
    assert (policy.name, policy.text) == ("default", "utilisation up-above=0.9")
    listed = vmpower("policy", "list").stdout
    assert "CPUs: " in listed
    assert "simulated" in listed
    assert "1.20 GHz" in listed
    assert "operator (default)" in vmpower("policy", "list", "dpdk-fw").stdout
    assert "operator (default)" not in vmpower("policy", "list", "web").stdout
    shown = vmpower("domain", "show", "dpdk-fw").stdout
    assert "utilisation up-above=0.9" in shown
    removed = vmpower("policy", "remove", "dpdk-fw")
    assert removed.stdout == "dpdk-fw: policy default removed\n"
    assert list(daemon.domains[FIREWALL].policies) == before


def test_a_domain_can_have_several_under_names(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    before = [policy.name for policy in daemon.domains[FIREWALL].policies]
    for name, words in [("a", ["workload", "high"]), ("b.2", ["utilisation"])]:
        assert (
            vmpower(
                "policy", "set", "1", *words, "--name", name, "-o", "json"
            ).exit_code
            == 0
        )
    after = [policy.name for policy in daemon.domains[FIREWALL].policies]
    assert after == [*before, "a", "b.2"]
    listed = json.loads(vmpower("policy", "list", "-o", "json").stdout)["policies"]
    *_, first, second = listed
    assert [(p["domain"], p["kind"]) for p in (first, second)] == [
        ("dpdk-fw", "workload"),
        ("dpdk-fw", "utilisation"),
    ]
    want = {"khz": STEPS[-1], "counts": True}
    assert first["wants"] == [{"vcpu": v, **want} for v in (0, 1)]
    left = json.loads(vmpower("policy", "remove", "1", "a", "-o", "json").stdout)
    assert [p["name"] for p in left["policies"]] == [*before, "b.2"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("set", "dpdk-fw", "speed"), 2, "unknown policy kind 'speed'"),
        (("set", "dpdk-fw", "utilisation", "up=1"), 2, "up: unknown option"),
        (("set", "dpdk-fw", "traffic", "avg-pps=1"), 2, "max-pps: missing"),
        (("set", "nobody", "utilisation"), 1, "no such domain: 'nobody'"),
        (("set", "web", "utilisation"), 1, "the domain is not running"),
        (
            ("set", "dpdk-fw", "utilisation", "--name", "a/b"),
            1,
            "invalid policy name 'a/b'",
        ),
        (("remove", "dpdk-fw", "x"), 1, "no policy 'x'"),
        (("list", "nobody"), 1, "no such domain: 'nobody'"),
    ],
)
def test_policy_errors_have_a_status_and_a_reason(
    vmpower: Vmpower, arguments: tuple[str, ...], status: int, words: str
) -> None:
    result = vmpower("policy", *arguments)
    assert result.exit_code == status
    assert words in result.stderr


def entry(**more: object) -> PolicyOfDomain:
    values: dict[str, object] = {
        "domain": "web",
        "uuid": FIREWALL,
        "source": "rule",
        "name": "web-*[0]",
        "channel": None,
        "kind": "utilisation",
        "text": "utilisation",
        "wants": [],
        "problem": None,
    }
    return PolicyOfDomain(**{**values, **more})  # type: ignore[typeddict-item]


def test_a_list_shows_sources_wants_and_problems() -> None:
    wants = [
        {"vcpu": vcpu, "khz": khz, "counts": vcpu != 3}
        for vcpu, khz in enumerate([1_200_000, 1_200_000, None, 3_000_000])
    ]
    document = PolicyList(
        policies=[
            entry(wants=wants, problem="vnet0 is gone"),
            entry(source="guest", name="", channel=1, text="workload high"),
        ]
    )
    lines = list(render_plain(build_policies(document, [])))
    assert [line.split("   ")[0].strip() for line in lines[:1]] == ["Domain"]
    assert any(
        "rule web-*[0]" in line
        and "0-1: 1.20 GHz, 2: no preference, 3: overruled" in line
        and "0-3" in line
        for line in lines
    )
    assert any("guest channel 1" in line and "workload high" in line for line in lines)
    assert any("web: rule web-*[0]: vnet0 is gone" in line for line in lines)
