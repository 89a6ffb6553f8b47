# SPDX-License-Identifier: Apache-2.0
"""The mechanisms, and which of them a cpufreq policy offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.power.mechanisms.limits import LimitsMechanism
from orchestrator.power.mechanisms.setspeed import SetspeedMechanism
from orchestrator.power.sysfs import policy_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.power.mechanisms.contract import Mechanism, MechanismClass
    from orchestrator.power.sysfs import CpuTree

MECHANISMS: Mapping[str, MechanismClass] = {
    "setspeed": SetspeedMechanism,
    "limits": LimitsMechanism,
}
"""By name, which is also that of the writer; see `power.writer`."""
ORIGINALS = frozenset(name for it in MECHANISMS.values() for name in it.ORIGINALS)
"""Names of all attributes that may be restored."""

_SETPOLICY_GOVERNORS = frozenset({"performance", "powersave"})


def choose_mechanism(tree: CpuTree, number: int) -> str:
    """Return the name of the mechanism for policyN, by what the kernel offers.

    A driver that chooses frequencies itself (`setpolicy` in the kernel) has exactly two
    governors, and `scaling_setspeed` accepts nothing. Every other one has the governor
    `userspace`, or gets it when the kernel loads its module.

    Raises:
        SysfsError: the governors cannot be read.
    """
    governors = tree.read(policy_path(number, "scaling_available_governors")).split()
    return "limits" if set(governors) == _SETPOLICY_GOVERNORS else "setspeed"


def find_mechanism(name: str, *, fallback_governor: str | None = None) -> Mechanism:
    """Create a mechanism.

    Args:
        name: as `choose_mechanism` returns it.
        fallback_governor: restored instead of a `userspace` that was found without a
            journal; None: `userspace` is restored.
    """
    return MECHANISMS[name](fallback_governor=fallback_governor)
