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
    """Whether frequencies are changed."""

    ENFORCE = "enforce"
    """Apply requests, within the bounds."""
    OBSERVE = "observe"
    """Change no frequencies; refuse and count the requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainPolicy:
    """Settings of one domain."""

    min_khz: KHz | None = None
    """Lowest frequency that its guest and policies can request."""
    max_khz: KHz | None = None
    """Highest frequency that its guest and policies can request."""
    turbo: bool | None = None
    """Whether its vCPUs may use the turbo step."""
    mode: Mode | None = None
    """Whether its requests are applied."""
    queries: bool | None = None
    """Whether the guest may query the frequencies and capabilities of its vCPUs."""
    guest_policies: bool | None = None
    """Whether the guest may send policies for its vCPUs."""
    policies: str | None = None
    """Policies for its vCPUs, as in "utilisation up-above=0.9; workload low vcpus=3";
    `vmpower policy set --help` lists kinds and options."""
    generation: int | None = None
    """Size of the guest's packets in bytes: 16, 456, 460 or 464; if not set, it is
    detected."""
    onboard: bool | None = None
    """Whether the domain requests or refuses onboarding. It has an effect only with
    rules for it, see `[[onboard]]`."""

    @property
    def is_empty(self) -> bool:
        """Whether everything is left open."""
        return all(getattr(self, item.name) is None for item in fields(self))
