# SPDX-License-Identifier: Apache-2.0
"""Accounting with Linux's powercap, on registers whose energy is known."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rig.lab import run_module_in_lab
from tests.rig.labs import RAPL

if TYPE_CHECKING:
    from tests.rig.labs import Lab

WRAP_JOULES = 2.0**32 / 2**21


@pytest.mark.lab
@pytest.mark.parametrize("lab", [RAPL], ids=str, indirect=True)
def test_what_is_accounted_is_what_was_drawn(lab: Lab) -> None:
    outcome = run_module_in_lab("tests.performer.energy_on_linux", lab=lab)

    assert outcome.status == 0, outcome.output
    line = next(it for it in outcome.output.splitlines() if it.startswith("FACTS "))
    facts = json.loads(line.removeprefix("FACTS "))
    sys.stdout.write(f"{line}\n")  # shown if the test fails
    assert (facts["source"], facts["hole"], facts["problems"]) == (
        "powercap",
        "",
        [""],
    ), facts
    measured, true = facts["measured"]
    assert measured == pytest.approx(true, rel=0.03), facts
    assert facts["parts"] == pytest.approx(measured, rel=0.001), facts
    assert facts["counted"] > WRAP_JOULES, facts
    drawn = [pair[0] for pair in facts["drawn"].values()]
    true_of_each = [pair[1] for pair in facts["drawn"].values()]
    assert sum(drawn) == pytest.approx(sum(true_of_each), rel=0.03), facts
    assert drawn == pytest.approx(true_of_each, rel=0.03), facts
    saved, error, true = facts["saved"]
    assert abs(saved - true) <= 2 * error, facts
    assert saved == pytest.approx(true, rel=0.04), facts
