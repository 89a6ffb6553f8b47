# SPDX-License-Identifier: Apache-2.0
"""An energy preference, held for the clock groups of vCPUs.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.policy.kinds.contract import Concern, HoldingPolicy, PolicyKind
from orchestrator.policy.kinds.option import REQUIRED, option
from orchestrator.values.cpu_attributes import CpuAttributes
from orchestrator.values.energy_preference import (
    EnergyPreference,  # noqa: TC001 - options are read from the annotations
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferredEnergy(HoldingPolicy):
    """An energy preference for the clock groups of the vCPUs; without a vote."""

    kind: ClassVar[PolicyKind] = PolicyKind("epp")
    concern: ClassVar[Concern] = Concern.ENERGY_PREFERENCE

    epp: EnergyPreference = option(
        REQUIRED,
        "Energy preference of the clock groups that the vCPUs are pinned into, where"
        " the scaling driver has one; one of these words, or 0 to 255.",
        is_bare=True,
    )

    @property
    def attributes(self) -> CpuAttributes:
        """Return the preference."""
        return CpuAttributes(epp=self.epp)
