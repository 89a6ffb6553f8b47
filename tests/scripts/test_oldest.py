# SPDX-License-Identifier: Apache-2.0
"""The versions that `scripts/oldest.txt` pins are the lower bounds of the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_lower_bounds_are_the_versions_that_are_tested() -> None:
    lines = (ROOT / "scripts/oldest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {
        found[1]: found[2]
        for found in (
            re.match(r"([\w-]+)>=([\d.]+)", line) for line in project["dependencies"]
        )
        if found
    }
    assert len(bounds) == len(project["dependencies"])
    for name, bound in bounds.items():
        assert f"{pins[name]}.".startswith(f"{bound}."), name
