# SPDX-License-Identifier: Apache-2.0
"""A mechanism is added as docs/drivers.md shows it, to a copy of the product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.examples.patched_copy import PatchedCopy
from tests.power.contract import find_checks

if TYPE_CHECKING:
    from pathlib import Path


def test_a_mechanism_is_a_change_of_a_few_files(tmp_path: Path) -> None:
    copy = PatchedCopy(tmp_path, "mechanism.patch")
    assert len(copy.files) <= 4
    status, output = copy.run_tests(
        "tests/examples/patched_mechanism_checks.py",
        "tests/power/test_contract.py",
        "-k=patched_mechanism or (intel_pstate and not no-hwp)",
    )
    passed = f"{len(find_checks()) + 3} passed"
    assert (status, passed in output) == (0, True), output
