# SPDX-License-Identifier: Apache-2.0
"""The daemon on drivers that choose frequencies themselves, in virtual machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.daemon.active_on_linux import REPORTED
from tests.rig.host_lab import run_module_in_host_lab
from tests.rig.labs import AMD_ACTIVE, INTEL_ACTIVE_HWP

if TYPE_CHECKING:
    from tests.rig.labs import Lab


@pytest.mark.lab
@pytest.mark.parametrize("lab", [INTEL_ACTIVE_HWP, AMD_ACTIVE], ids=str, indirect=True)
def test_requests_reach_the_registers_and_every_end_restores(lab: Lab) -> None:
    outcome = run_module_in_host_lab("tests.daemon.active_on_linux", lab=lab)
    assert outcome.status == 0, outcome.output
    played = [line for line in outcome.output.splitlines() if line.startswith("ok ")]
    assert played == [f"ok {name}" for name in REPORTED]
