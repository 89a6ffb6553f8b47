# SPDX-License-Identifier: Apache-2.0
"""A right is added as CONTRIBUTING.md shows it, to a copy of the product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.examples.patched_copy import PatchedCopy

if TYPE_CHECKING:
    from pathlib import Path


def test_a_right_is_a_change_of_a_few_files(tmp_path: Path) -> None:
    copy = PatchedCopy(tmp_path, "domain_right.patch")
    assert len(copy.files) <= 6
    status, output = copy.run_tests("tests/examples/patched_right_checks.py")
    assert (status, "6 passed" in output) == (0, True), output
