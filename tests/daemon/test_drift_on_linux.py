# SPDX-License-Identifier: Apache-2.0
"""CPUs that others change, on Linux's own driver in a virtual machine."""

from __future__ import annotations

import pytest

from tests.daemon.drift_on_linux import PLAYS
from tests.rig.host_lab import run_module_in_host_lab


@pytest.mark.lab
def test_no_answer_and_no_status_relies_on_a_remembered_setting() -> None:
    outcome = run_module_in_host_lab("tests.daemon.drift_on_linux")
    assert outcome.status == 0, outcome.output
    played = [line for line in outcome.output.splitlines() if line.startswith("ok ")]
    scenarios = [scenario for _, scenarios in PLAYS for scenario in scenarios]
    assert played == [f"ok {scenario.__name__}" for scenario in scenarios]
