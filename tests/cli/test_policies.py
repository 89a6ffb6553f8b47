# SPDX-License-Identifier: Apache-2.0
"""`vmpower policy`, with a fake daemon on real sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.output.tables.plain import render_plain
from cli.output.tables.policies import build_own_policies, build_policies
from orchestrator.control.documents import PolicyList, PolicyOfDomain
from tests.cli.conftest import run_process
from tests.control.fake_host import FIREWALL, STEPS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Vmpower
    from tests.control.fake_daemon import FakeDaemon


def test_a_policy_is_set_listed_and_removed(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    done = vmpower("policy", "set", "dpdk-fw", "utilisation", "up-above=0.9")
    assert done.exit_code == 0
    assert done.stderr == (
        "warning: no effect on vCPU 2 now: pinned to CPUs of more than one clock group:"
        " 4,6\n"
    )
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
        (("set", "dpdk-fw", "workload low; workload high"), 2, "one policy, not 2"),
        (("preview", "time-of-day busy=9-17"), 2, "busy: invalid time '9-17'"),
        (("preview", ""), 2, "expected one policy, not 0"),
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
        "idle_latency_us": None,
        "epp": None,
        "wants": [],
        "problem": None,
        "next_change": None,
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


def test_a_list_shows_the_next_change_in_the_time_zone_of_the_policy() -> None:
    change = {"at": "2026-11-30T08:00:00+01:00", "level": "none"}
    entries = [entry(next_change=change), entry(text="workload high")]
    sheets = build_policies(PolicyList(policies=entries), [])
    titles, _, first, second, *_ = render_plain(sheets)
    assert titles.split()[-2:] == ["Next", "change"]
    assert first.endswith("no preference from Mon 2026-11-30 08:00 +0100")
    assert second.split()[-1] == "-"
    shown = list(render_plain((build_own_policies([entries[0]]),)))
    assert shown[-1].endswith("no preference from Mon 2026-11-30 08:00 +0100")


def test_a_list_shows_what_policies_hold() -> None:
    none = [{"vcpu": vcpu, "khz": None, "counts": True} for vcpu in (0, 1)]
    some = [{"vcpu": 0, "khz": 1_200_000, "counts": True}]
    document = PolicyList(
        policies=[
            entry(text="latency 20us", wants=none, idle_latency_us=20),
            entry(text="workload low epp=power", wants=some, epp="power"),
        ]
    )
    alone, besides = list(render_plain(build_policies(document, [])))[-2:]
    assert " ".join(alone.split()).endswith("latency 20us 0-1 idle latency 20 us")
    assert besides.endswith("1.20 GHz, energy preference power")


def test_a_policy_that_does_not_vote_replaces_none_that_does(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    before = list(daemon.domains[FIREWALL].policies)
    for words in (["workload=low"], ["epp=power"], ["latency", "20us"]):
        assert vmpower("policy", "set", "dpdk-fw", *words).exit_code == 0
    policies = daemon.domains[FIREWALL].policies[len(before) :]
    assert [(it.name, it.text) for it in policies] == [
        ("default", "workload low"),
        ("epp", "epp power"),
        ("latency", "latency 20us"),
    ]
    assert vmpower("policy", "remove", "dpdk-fw", "epp").exit_code == 0


def test_a_list_without_timetables_has_no_column_for_them() -> None:
    sheets = build_policies(PolicyList(policies=[entry()]), [])
    assert "Next change" not in next(iter(render_plain(sheets)))


HALVES = "time-of-day busy=00:00-12:00 quiet=12:00-24:00 zone=Asia/Kathmandu"


@pytest.mark.parametrize(("options", "count"), [((), 3), (("--week",), 15)])
@pytest.mark.parametrize("words", [HALVES.split(), [HALVES]], ids=["words", "quoted"])
def test_a_preview_needs_no_daemon_and_lists_what_will_change(
    tmp_path: Path, options: tuple[str, ...], count: int, words: list[str]
) -> None:
    arguments = ("policy", "preview", *words, *options, "-o", "json")
    status, out, errors = run_process(tmp_path, *arguments)
    assert (status, errors) == (0, "")
    document = json.loads(out)
    assert (document["text"], document["zone"]) == (HALVES, "Asia/Kathmandu")
    first, *later = document["changes"]
    assert len(later) == count - 1
    for change in later:
        is_noon = change["at"].endswith("T12:00:00+05:45")
        assert is_noon or change["at"].endswith("T00:00:00+05:45")
        assert change["level"] == ("lowest" if is_noon else "highest")
    assert first["level"] == later[1]["level"]
    assert first["at"] < later[0]["at"] < later[-1]["at"] < document["end"]


def test_a_preview_without_a_zone_is_in_that_of_this_host(tmp_path: Path) -> None:
    arguments = ("policy", "preview", "time-of-day", "busy=00:00-12:00")
    status, out, _ = run_process(tmp_path, *arguments, TZ="Asia/Kathmandu")
    assert status == 0
    facts, table = out.split("\n\n")
    assert "of this host" in facts
    rows = [line.split() for line in table.splitlines()[2:]]
    assert all(row[3] == "+0545" for row in rows)
    assert {row[2] for row in rows[1:]} == {"00:00", "12:00"}
    assert {" ".join(row[8:]) for row in rows} == {"highest", "no preference"}
    assert [row[:4] for row in rows[1:]] == [row[4:8] for row in rows[:-1]]
