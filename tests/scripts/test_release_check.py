# SPDX-License-Identifier: Apache-2.0
"""What `make release-check` demands of the changelog."""

from __future__ import annotations

import pytest

from scripts.release_check import changelog_problem

GOOD = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-11-27\n\n- x\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD, ""),
        (GOOD.replace("1.2.0", "1.1.0"), "second section is not [1.2.0]"),
        (GOOD.replace(" - 2026-11-27", ""), "second section is not [1.2.0]"),
        (GOOD.replace("ed]\n", "ed]\n\n- y\n"), "[Unreleased] is not empty"),
        (GOOD.replace("## [Unreleased]\n", ""), "first section is not [Unreleased]"),
        ("# Changelog\n\n## [Unreleased]\n", "second section is not [1.2.0]"),
    ],
)
def test_the_changelog_names_the_release(text: str, problem: str) -> None:
    found = changelog_problem(text, "1.2.0")
    assert problem in found
    assert bool(found) is bool(problem)
