"""Why a request was refused; counted for each channel."""

from __future__ import annotations

from enum import IntEnum


class Refusal(IntEnum):
    """A reason; the number is its place in a channel's row of the shared table.

    None is 0, so that a refusal is always true.
    """

    OBSERVED = 1
    """The host or the domain is only observed."""
    DISABLED = 2
    """The operator disabled the channel."""
    PHYSICAL = 3
    """The guest named a CPU of the host."""
    NO_VCPU = 4
    """The domain has no such vCPU, or a reply has no room for it."""
    FLOATING = 5
    """The vCPU is not pinned into one clock group."""
    UNIT = 6
    """The unit is none."""
    TURBO = 7
    """There is no turbo step, or the domain may not use it."""
    OVERRIDDEN = 8
    """The operator has set the clock."""
    CLAIM = 9
    """The clock group could not be taken."""
    KERNEL = 10
    """The kernel refused the clock."""
    POLICIES_FORBIDDEN = 11
    """The domain may not send policies."""
    POLICIES_TOO_MANY = 12
    """The channel sends too many policies."""
    POLICY_REFUSED = 13
    """The policy cannot be installed."""
    QUERIES_FORBIDDEN = 14
    """The domain may not ask about its vCPUs."""

    @property
    def word(self) -> str:
        """Its name in documents: `no-vcpu`."""
        return self.name.lower().replace("_", "-")
