# SPDX-License-Identifier: Apache-2.0
"""The same contract on Linux's own acpi-cpufreq driver, in a virtual machine."""

from __future__ import annotations

import pytest

from tests.power.contract import find_checks
from tests.rig.lab import run_module_in_lab

pytestmark = pytest.mark.rig


@pytest.mark.parametrize("shared", [1, 2])
def test_the_driver_fulfils_the_contract_on_the_kernel_s_own_driver(
    shared: int,
) -> None:
    outcome = run_module_in_lab("tests.power.contract", "/sys", shared=shared)
    assert outcome.status == 0, outcome.output
    kept = [line for line in outcome.output.splitlines() if line.startswith("ok ")]
    prefixes = ("check_", "kernel_check_", "setspeed_check_")
    checks = [check for prefix in prefixes for check in find_checks(prefix)]
    assert kept == [f"ok {check.__name__}" for check in checks], outcome.output
