# SPDX-License-Identifier: Apache-2.0
"""`make corpus`: what it counts, and that it finds faults."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from domain_templates.schema import SCHEMA, load_rules
from orchestrator.domain_xml.edit import add_channels
from scripts.corpus import trials
from scripts.corpus.__main__ import main
from scripts.corpus.trials import Report, Trials
from tests.domain_templates.existing import EXISTING, with_devices

if TYPE_CHECKING:
    from collections.abc import Callable

DOMAINS = Path(__file__).parents[1] / "data" / "domains"
needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason="no libvirt schema")


def test_the_domains_of_a_directory_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    shutil.copy(DOMAINS / "live.xml", tmp_path / "below")
    (tmp_path / "existing.xml").write_text(EXISTING)
    (tmp_path / "network.xml").write_text("<network/>")
    (tmp_path / "binary.xml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "other.txt").write_text(EXISTING)
    assert main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "2 domains" in lines
    assert "onboard: 2 passed, 0 refused, 0 failed" in lines
    assert "template, new devices: 2 passed, 0 refused, 0 failed" in lines


def test_a_refusal_is_counted_and_shown_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    container = with_devices("").replace(">hvm<", ">exe<")
    (tmp_path / "container.xml").write_text(container)
    assert main([str(tmp_path), "--refused"]) == 0
    out = capsys.readouterr().out
    assert "template, as it is: 0 passed, 1 refused, 0 failed" in out
    assert "container.xml: template, as it is: invalid template: <type>exe" in out


@pytest.mark.parametrize("arguments", [[], ["/nonexistent"]])
def test_without_a_directory_the_usage_is_shown(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "usage: make corpus DIR=DIRECTORY" in capsys.readouterr().err


def test_a_directory_without_domains_fails(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1


def _lose_vcpu(change: Callable[..., str]) -> Callable[..., str]:
    return lambda *given: change(*given).replace("<vcpu", "<!-- --><vcpu")


@pytest.mark.parametrize(
    ("broken", "trial", "message"),
    [
        ("remove_channels", "onboard", "not restored exactly"),
        ("set_settings", "set", "not restored exactly"),
    ],
)
def test_what_is_not_restored_is_a_failure(
    broken: str,
    trial: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "existing.xml").write_text(EXISTING)
    monkeypatch.setattr(trials, broken, _lose_vcpu(getattr(trials, broken)))
    assert main([str(tmp_path)]) == 1
    assert f"existing.xml: {trial}: {message}" in capsys.readouterr().out


def test_what_is_kept_of_a_template_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trials, "build", lambda _name, _spec, template: template.xml)
    report = Report()
    Trials(None).run(EXISTING, report)
    failed = report.failed
    assert failed["template, as it is"] == f"kept from the template: {trials.UUID}"


def test_an_exception_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "build", lambda *_: 1 // 0)
    report = Report()
    Trials(None).run(EXISTING, report)
    failed = report.failed
    assert failed["template, as it is"].startswith("ZeroDivisionError")


@needs_schema
def test_xml_that_is_no_longer_valid_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        trials,
        "add_channels",
        lambda *given: add_channels(*given).replace('mode="bind"', 'moode="bind"'),
    )
    report = Report()
    Trials(load_rules()).run(with_devices(""), report)
    failed = report.failed
    assert "not valid by libvirt's schema" in failed["onboard"]
