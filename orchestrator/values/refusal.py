# SPDX-License-Identifier: Apache-2.0
"""Reasons for refusing a request; counted for each channel."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Permission(StrEnum):
    """What a domain's guest may do: the names of settings of a domain."""

    QUERIES = "queries"
    """Query the frequencies and capabilities of its own vCPUs."""
    ENERGY_QUERIES = "energy_queries"
    """Query what it draws and saves."""
    GUEST_POLICIES = "guest_policies"
    """Send policies for its own vCPUs."""

    @property
    def refusal(self) -> Refusal:
        """The reason of a request that lacks it."""
        return _FORBIDDEN[self]


class Refusal(IntEnum):
    """A reason; its number is its position in a channel's row of the shared table.

    No reason is 0, so that a refusal is always true.
    """

    OBSERVED = 1
    """The host or the domain is in observe mode."""
    DISABLED = 2
    """The operator disabled the channel."""
    PHYSICAL = 3
    """The request is for a CPU of the host."""
    NO_VCPU = 4
    """No such vCPU in the domain, or no room for it in a reply."""
    FLOATING = 5
    """The vCPU is not pinned into one clock group."""
    UNIT = 6
    """Unknown unit."""
    TURBO = 7
    """No turbo step, or the domain may not use it."""
    OVERRIDDEN = 8
    """The operator has overridden the frequency."""
    CLAIM = 9
    """The clock group could not be taken."""
    KERNEL = 10
    """The kernel refused the frequency."""
    POLICIES_FORBIDDEN = 11
    """The domain may not send policies."""
    POLICIES_TOO_MANY = 12
    """The channel sends too many policies."""
    POLICY_REFUSED = 13
    """The policy cannot be installed."""
    QUERIES_FORBIDDEN = 14
    """The domain may not query its vCPUs."""
    UNMANAGED = 15
    """No frequency can be set for the CPUs of the vCPU, wherever it is pinned: the
    scaling driver is unsupported, or the kernel refused."""
    NO_STEP = 16
    """The guest's P-state table has no such step for the vCPU."""
    ENERGY_FORBIDDEN = 17
    """The domain may not query its energy."""
    ENERGY_UNKNOWN = 18
    """The domain's energy is not accounted, or not yet."""

    @property
    def word(self) -> str:
        """Its name in documents: `no-vcpu`."""
        return self.name.lower().replace("_", "-")


_FORBIDDEN = {
    Permission.QUERIES: Refusal.QUERIES_FORBIDDEN,
    Permission.ENERGY_QUERIES: Refusal.ENERGY_FORBIDDEN,
    Permission.GUEST_POLICIES: Refusal.POLICIES_FORBIDDEN,
}
