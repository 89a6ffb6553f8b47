# SPDX-License-Identifier: Apache-2.0
"""Accounting with Linux's powercap, on registers whose energy is known."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.lab import run_module_in_lab
from tests.rig.labs import RAPL

if TYPE_CHECKING:
    from tests.rig.labs import Lab

WRAP_JOULES = 2.0**32 / 2**21


def facts_of(module: str, lab: Lab) -> Any:
    outcome = run_module_in_lab(module, lab=lab)
    assert outcome.status == 0, outcome.output
    line = next(it for it in outcome.output.splitlines() if it.startswith("FACTS "))
    sys.stdout.write(f"{line}\n")  # shown if the test fails
    return json.loads(line.removeprefix("FACTS "))


@pytest.mark.lab
@pytest.mark.parametrize("lab", [RAPL], ids=str, indirect=True)
def test_a_calibration_measures_what_a_busy_core_draws(lab: Lab) -> None:
    facts = facts_of("tests.performer.calibration_on_linux", lab)

    static, true = facts["static"]
    assert static == pytest.approx(true, rel=0.1), facts
    assert len(facts["steps"]) > 3, facts
    for khz, measured, true in facts["steps"]:
        assert measured == pytest.approx(true, rel=0.1, abs=0.2), (khz, facts)


@pytest.mark.lab
@pytest.mark.parametrize("lab", [RAPL], ids=str, indirect=True)
def test_what_is_accounted_is_what_was_drawn(lab: Lab) -> None:
    facts = facts_of("tests.performer.energy_on_linux", lab)

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
