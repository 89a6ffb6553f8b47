# SPDX-License-Identifier: Apache-2.0
"""`vmpower tuned-profile`; TuneD itself reads one in tests/packaging."""

from __future__ import annotations

import configparser
import json
from typing import TYPE_CHECKING

from cli.commands import tuned_profile

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Vmpower


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return parser


def test_by_default_it_leaves_the_clock_groups_of_all_domains(vmpower: Vmpower) -> None:
    result = vmpower("tuned-profile")
    assert result.exit_code == 0
    profile = read(result.stdout)
    assert profile["main"]["include"] == "virtual-host"
    status = json.loads(vmpower("status", "-o", "json").stdout)
    groups = {
        group
        for domain in status["domains"]
        for vcpu in domain["vcpus"]
        for group in vcpu["clock_groups"]
    }
    cpus = [it["pcpu"] for it in status["cpus"] if it["clock_group"] in groups]
    assert cpus
    assert profile["cpu"]["devices"] == ",".join(f"!cpu{cpu}" for cpu in cpus)


def test_named_cpus_need_no_daemon(vmpower: Vmpower) -> None:
    result = vmpower("tuned-profile", "1-2,5", "--base", "powersave", "-o", "json")
    document = json.loads(result.stdout)
    assert document["cpus"] == [1, 2, 5]
    assert document["path"] is None
    assert read(document["text"])["main"]["include"] == "powersave"


def test_an_invalid_list_is_a_wrong_usage(vmpower: Vmpower) -> None:
    assert vmpower("tuned-profile", "x").exit_code == 2


def test_it_is_written_to_the_directory_that_tuned_reads(
    vmpower: Vmpower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "tuned", tmp_path / "tuned" / "profiles"
    monkeypatch.setattr(tuned_profile, "_DIRECTORIES", (new, old))
    assert "no TuneD found" in vmpower("tuned-profile", "1", "--install").stderr
    old.mkdir()
    result = vmpower("tuned-profile", "1", "--install")
    assert f"wrote {old}/vmpower/tuned.conf" in result.stdout
    assert "'vmpower cpu retake 1'" in result.stdout
    new.mkdir()
    vmpower("tuned-profile", "1", "--install")
    text = (new / "vmpower" / "tuned.conf").read_text()
    assert read(text)["cpu"]["devices"] == "!cpu1"
