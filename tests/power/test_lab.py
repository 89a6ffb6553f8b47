# SPDX-License-Identifier: Apache-2.0
"""The same contract on Linux's own scaling drivers, in virtual machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.power.contract import find_checks
from tests.rig.lab import run_module_in_lab
from tests.rig.labs import ACPI_CPUFREQ, OWN_GOVERNORS

if TYPE_CHECKING:
    from tests.rig.labs import Lab

pytestmark = pytest.mark.lab


def _run_contract(lab: Lab, shared: int) -> None:
    outcome = run_module_in_lab("tests.power.contract", "/sys", lab=lab, shared=shared)
    assert outcome.status == 0, outcome.output
    kept = [line for line in outcome.output.splitlines() if line.startswith("ok ")]
    mechanism = "limits" if lab.governors == OWN_GOVERNORS else "setspeed"
    prefixes = ("check_", "kernel_check_", f"{mechanism}_check_")
    checks = [check for prefix in prefixes for check in find_checks(prefix)]
    assert kept == [f"ok {check.__name__}" for check in checks], outcome.output


def test_a_scaling_driver_fulfils_the_contract(lab: Lab) -> None:
    _run_contract(lab, shared=1)


def test_cpus_that_share_a_frequency_fulfil_the_contract() -> None:
    _run_contract(ACPI_CPUFREQ, shared=2)
