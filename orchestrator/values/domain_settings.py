"""What an operator allows one domain, as a value: no XML, no configuration.

Every field can be left open (None): then what stands behind it in the order of
precedence decides, and in the end the host's configuration.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from orchestrator.values.units import KHz  # noqa: TC001 - the configuration reads the hints

GENERATIONS = (16, 456, 460, 464)
"""Bytes of a packet in each generation of DPDK's guests, which is what names them.

Source: struct channel_packet of lib/power (librte_power), DPDK 1.8 to today.
"""


class Mode(StrEnum):
    """Whether clocks are written."""

    ENFORCE = "enforce"
    """Obey guests within the bounds."""
    OBSERVE = "observe"
    """Do everything but the writes; guests' requests are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainPolicy:
    """Bounds and rights of one domain."""

    min_khz: KHz | None = None
    """Its vCPUs' clocks never go lower."""
    max_khz: KHz | None = None
    """Its vCPUs' clocks never go higher on its behalf."""
    turbo: bool | None = None
    """Whether it may use the turbo step."""
    mode: Mode | None = None
    """Whether its requests change clocks."""
    queries: bool | None = None
    """Whether it may ask for the clocks and abilities of its own vCPUs."""
    guest_policies: bool | None = None
    """Whether it may send policies for its own vCPUs."""
    policies: str | None = None
    """Policies for its vCPUs, as in "utilisation up-above=0.9; workload low vcpus=3";
    `vmpower policy set --help` lists kinds and options."""
    generation: int | None = None
    """Bytes of its packets: 16, 456, 460 or 464; without: found out from what it
    sends."""
    onboard: bool | None = None
    """Whether it asks for onboarding or refuses it; rules for it decide (see
    `[[onboard]]`), so that by itself this gives nobody a channel."""

    @property
    def is_empty(self) -> bool:
        """Whether everything is left open."""
        return all(getattr(self, item.name) is None for item in fields(self))
