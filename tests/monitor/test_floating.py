# SPDX-License-Identifier: Apache-2.0
"""A floating vCPU has neither a requested frequency nor steps."""

from __future__ import annotations

import pytest

from orchestrator.monitor.arbiter import MAX, Domain, VCpu


def test_a_floating_vcpu_has_neither_frequency_nor_steps() -> None:
    vcpu = VCpu(Domain(), 0)
    assert vcpu.apply_request(MAX) is None
    with pytest.raises(ValueError, match="floating"):
        vcpu.requested_khz()
    with pytest.raises(ValueError, match="floating"):
        vcpu.clamp(2_000_000)
