# SPDX-License-Identifier: Apache-2.0
"""The example configuration: valid as it is, and with everything in it uncommented."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.config import Config
from orchestrator.config_files import load_config
from scripts.manual.commented import commented_configuration

EXAMPLE = Path(__file__).parents[2] / "examples" / "vmpower.toml"


def test_the_example_changes_nothing() -> None:
    assert load_config(EXAMPLE) == Config()


def test_the_example_is_what_the_code_generates() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == commented_configuration(), (
        "run: make man"
    )


def test_each_option_alone_is_valid(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    options = [i for i, it in enumerate(lines) if re.match(r"#\w+ = ", it)]
    rules = next(i for i, it in enumerate(lines) if it.startswith("#[["))
    path = tmp_path / "vmpower.toml"
    plain = [i for i in options if i < rules]
    assert plain
    for i in plain:
        changed = [*lines[:i], lines[i].removeprefix("#"), *lines[i + 1 :]]
        path.write_text("\n".join(changed), encoding="utf-8")
        load_config(path)  # raises for an invalid option


def test_everything_in_the_example_is_valid_and_shows_the_defaults(
    tmp_path: Path,
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    path = tmp_path / "vmpower.toml"
    path.write_text(re.sub("^#(?! |$)", "", text, flags=re.MULTILINE), encoding="utf-8")
    config = load_config(path)
    assert (config.mode, config.power, config.channels) == (
        Config().mode,
        Config().power,
        Config().channels,
    )
    assert [rule.match for rule in config.domain] == ["fw-*"]
    assert [rule.match for rule in config.onboard] == ["dpdk-*"]
    assert [rule.kind for rule in config.policy] == ["utilisation", "time-of-day"]
    assert config.bounds.max_khz == 2_600_000
    assert config.metrics.listen == "127.0.0.1:9723"
