# SPDX-License-Identifier: Apache-2.0
"""`make corpus`: what it counts, and that it finds faults."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from domain_templates.schema import SCHEMA, load_rules
from orchestrator.domain_xml.edit import add_channels
from scripts.corpus.__main__ import main
from scripts.corpus.report import Report
from scripts.corpus.trials import UUID, Product, Trials
from tests.domain_templates.existing import EXISTING, with_devices

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from scripts.corpus.libvirtd import LibvirtdTrials

DOMAINS = Path(__file__).parents[1] / "data" / "domains"
needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason="no libvirt schema")


def without_libvirtd() -> AbstractContextManager[LibvirtdTrials]:
    raise FileNotFoundError("libvirtd is not installed")


def try_all(directory: Path, *options: str) -> int:
    return main([str(directory), *options], without_libvirtd)


def test_the_domains_of_a_directory_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    shutil.copy(DOMAINS / "live.xml", tmp_path / "below")
    (tmp_path / "existing.xml").write_text(EXISTING)
    (tmp_path / "network.xml").write_text("<network/>")
    (tmp_path / "binary.xml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "other.txt").write_text(EXISTING)
    assert try_all(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "not tried with libvirtd: libvirtd is not installed" in lines
    assert "2 domains" in lines
    assert "onboard: 2 passed, 0 refused, 0 failed" in lines
    assert "template, new devices: 2 passed, 0 refused, 0 failed" in lines


def test_a_refusal_is_counted_and_shown_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    container = with_devices("").replace(">hvm<", ">exe<")
    (tmp_path / "container.xml").write_text(container)
    assert try_all(tmp_path, "--refused") == 0
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
    assert try_all(tmp_path) == 1


def losing_vcpus(change: Callable[..., str]) -> Callable[..., str]:
    return lambda *given: change(*given).replace("<vcpu", "<!-- --><vcpu")


def failures(xml: str, **functions: Callable[..., str]) -> dict[str, str]:
    report = Report()
    Trials(load_rules(), Product(**functions)).run(xml, report)
    return report.failed


def test_what_is_not_restored_is_a_failure() -> None:
    product = Product()
    broken = losing_vcpus(product.remove_channels)
    failed = failures(EXISTING, remove_channels=broken)
    assert list(failed) == ["onboard"]
    assert failed["onboard"].startswith("not restored exactly: +<!-- -->")
    broken = losing_vcpus(product.set_settings)
    failed = failures(EXISTING, set_settings=broken)
    assert list(failed) == ["set"]
    assert failed["set"].startswith("not restored exactly: +<!-- -->")


def test_failures_are_printed_with_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "existing.xml").write_text(EXISTING)
    broken = Product(build=lambda *_: str(1 // 0))
    assert main([str(tmp_path)], without_libvirtd, broken) == 1
    out = capsys.readouterr().out
    assert "existing.xml: template, as it is: ZeroDivisionError: integer" in out
    assert "template, as it is: 0 passed, 0 refused, 1 failed" in out


def test_what_is_kept_of_a_template_is_a_failure() -> None:
    failed = failures(EXISTING, build=lambda _name, _spec, template: template.xml)
    assert failed["template, as it is"] == f"kept from the template: {UUID}"


@needs_schema
def test_xml_that_is_no_longer_valid_is_a_failure() -> None:
    def broken(*given: Any) -> str:
        return add_channels(*given).replace('mode="bind"', 'moode="bind"')

    failed = failures(with_devices(""), add_channels=broken)
    assert "not valid by libvirt's schema" in failed["onboard"]
