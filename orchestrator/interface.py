"""A domain's network interface, as far as its packets can be counted: a value.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class InterfaceKind(StrEnum):
    """Where the host counts the packets of an interface."""

    TAP = "tap"
    """In a tap device; what the guest receives is what the host sends into it."""
    MACVTAP = "macvtap"
    """In a macvtap device; it counts as the guest sees it."""
    VIRTUAL_FUNCTION = "virtual function"
    """In the physical function of a network card."""
    UNCOUNTED = "uncounted"
    """Nowhere that the host's kernel knows of: vhost-user, vDPA, user networking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSpec:
    """One interface as the domain's XML describes it."""

    mac: str
    """As in 52:54:00:12:34:56, lower case."""
    kind: InterfaceKind
    device: str | None = None
    """Name of the host's tap or macvtap device, while the domain runs."""
    pci: str | None = None
    """Host address of a virtual function, as in 0000:3b:02.0."""
