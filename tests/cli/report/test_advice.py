# SPDX-License-Identifier: Apache-2.0
"""`vmpower advise`: from holds to commands, with what they save and risk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.report.advice import MODEL_ERROR, build_advice
from tests.cli.report.histories import fill
from tests.control.fake_daemon import FakeDaemon

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output.report_documents import Advice
    from orchestrator.control.documents import Cpu, Domain, History
    from tests.cli.conftest import Vmpower

UUID = "11111111-1111-4111-8111-111111111111"
KWH = 3_600_000.0


def history(
    cause: str, *, joules: float = KWH, steps: tuple[tuple[str, float], ...] = ()
) -> History:
    """Return a day of one domain with one hold of a core for half of it."""
    domain: dict[str, Any] = {
        "part": 0,
        "uuid": UUID,
        "name": "my fw",
        "duration_s": 86_400.0,
        "has_energy": True,
        "requests_total": 1000,
        "refused_total": 0,
        "late_total": 7,
        "dropped_total": 0,
        "refusals": {},
        "joules": 10 * KWH,
        "error_joules": 0.2 * KWH,
        "saved_joules": 1 * KWH,
        "saved_error_joules": 0.1 * KWH,
        "possible_joules": 3 * KWH,
        "steps": [
            {
                "activity": activity,
                "khz": 3_000_000,
                "requested_khz": 3_000_000,
                "highest_khz": 3_000_000,
                "core_s": core_s,
            }
            for activity, core_s in steps
        ],
        "holds": [{"cause": cause, "core_s": 43_200.0, "joules": joules}],
    }
    return {
        "since": "2026-03-01T00:00:00Z",
        "until": "2026-03-02T00:00:00Z",
        "step_s": 86_400,
        "hosts": [],
        "domains": [domain],  # type: ignore[list-item]
        "events": {},
        "price_per_kwh": None,
        "currency": "EUR",
        "co2_g_per_kwh": None,
        "problem": None,
    }


def advise(found: History, min_source: str | None = "metadata") -> list[Advice]:
    status = json.loads(FakeDaemon().picture().model_dump_json())
    domains: list[Domain] = status["domains"]
    cpus: list[Cpu] = status["cpus"]
    for domain in domains:
        for vcpu in domain["vcpus"]:
            vcpu["min_source"] = min_source
    for cpu in cpus:
        cpu["override_khz"] = 2_200_000 if cpu["pcpu"] in (2, 3) else None
    return build_advice(found, domains, cpus)["advice"]


def test_mode_observe_saves_what_was_possible() -> None:
    (advice,) = advise(history("observe"))
    assert advice["commands"] == ["vmpower domain set 'my fw' --mode enforce"]
    assert advice["saves_kwh_per_day"] == pytest.approx(2.0)
    # That of what is saved, and 2 % of what is not saved yet.
    assert advice["error_kwh_per_day"] == pytest.approx(0.1 + 0.02 * 2)
    assert "of 1,000 answers, 7 were late and 0 dropped" in advice["risk"]


@pytest.mark.parametrize(
    ("source", "command"),
    [
        ("metadata", "vmpower domain set 'my fw' --unset min"),
        ("rule dpdk-*", "# vmpower.toml: lower min_khz of [[domain]] dpdk-*"),
        ("host", "# vmpower.toml: lower min_khz of [bounds]"),
    ],
)
def test_a_lower_limit_is_removed_where_it_is_set(source: str, command: str) -> None:
    (advice,) = advise(history("lower-limit"), source)
    assert advice["commands"] == [command]
    assert advice["saves_kwh_per_day"] == pytest.approx(1.0)
    assert advice["error_kwh_per_day"] == pytest.approx(MODEL_ERROR)


@pytest.mark.parametrize("source", ["hardware", "kernel", None])
def test_a_limit_that_no_setting_changes_is_no_advice(source: str | None) -> None:
    assert advise(history("lower-limit"), source) == []


def test_a_domain_that_sleeps_gets_a_policy_by_its_run_time() -> None:
    # Busy for a quarter of the time: it could run at 0.25 / 0.65 of the frequency.
    (advice,) = advise(history("no-vote", steps=(("other", 10_800.0),)))
    assert advice["commands"] == ["vmpower policy set 'my fw' utilisation"]
    assert advice["saves_kwh_per_day"] == pytest.approx(1 - 0.25 / 0.65)
    assert "25 % of the time" in advice["reason"]


def test_a_domain_that_polls_gets_a_policy_by_its_packets() -> None:
    (advice,) = advise(history("no-vote", steps=(("poll", 43_200.0),)))
    (command,) = advice["commands"]
    assert command.startswith("vmpower policy set 'my fw' packet-rate capacity-pps=N")
    assert advice["saves_kwh_per_day"] == pytest.approx(0.5)
    assert advice["error_kwh_per_day"] == pytest.approx(0.25)


def test_an_override_is_released_on_the_cpus_of_the_domain() -> None:
    (advice,) = advise(history("override"))
    assert advice["commands"] == ["vmpower cpu release 2,3"]


@pytest.mark.parametrize(
    ("cause", "part"), [("host", "share_with_host"), ("neighbor", "domain pin")]
)
def test_what_shares_a_clock_group_is_separated(cause: str, part: str) -> None:
    (advice,) = advise(history(cause))
    assert part in advice["commands"][0]


@pytest.mark.parametrize("cause", ["floating", "upper-limit", "a newer one"])
def test_what_saves_nothing_is_no_advice(cause: str) -> None:
    assert advise(history(cause)) == []


def test_a_trifle_is_no_advice() -> None:
    assert advise(history("override", joules=1.0)) == []


def test_the_command_prints_commands_and_changes_nothing(
    vmpower: Vmpower, daemon: FakeDaemon, tmp_path: Path
) -> None:
    assert "nothing to suggest, from 0.0 days" in vmpower("advise").stdout
    daemon.store = fill(tmp_path)
    before = dict(daemon.domains)
    text = vmpower("advise", "--since", "1d").stdout
    assert "vmpower domain set '<router>' --mode enforce" in text
    assert "Wh a day" in text
    assert "nothing was changed" in text
    assert (daemon.domains, daemon.callers) == (before, [])
