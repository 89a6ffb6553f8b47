# SPDX-License-Identifier: Apache-2.0
"""What onboarding changes in one description of a domain: attach, detach, wait.

Theory of operation: a plan is the difference between the channels that a description
should have and those that it has. The running domain takes as many channels as its
virtio-serial controllers have free ports, the lowest numbers first; the others wait for
another controller or for the next start. A definition takes all of them, because
libvirt adds controllers to it. Detaching comes first, so that the ports it frees count
as free.

A plan never touches a channel that onboarding did not attach, and once it is carried
out, the next plan changes nothing.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.onboarding.rule import OnboardRule
    from orchestrator.values.domain import DomainChannels

_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPlan:
    """Changes to the channels of one description; numbers are in ascending order."""

    detach: tuple[int, ...] = ()
    """Channels to detach before any is attached."""
    attach: tuple[int, ...] = ()
    """Missing channels for which there is room."""
    waiting: tuple[int, ...] = ()
    """Missing channels without a free port; the domain gets them with another
    controller, or at its next start."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be changed; channels may still be waiting."""
        return not (self.detach or self.attach)


def plan_by_rule(
    channels: DomainChannels, rule: OnboardRule | None, *, is_live: bool
) -> ChannelPlan:
    """Plan what a rule of the configuration wants.

    Args:
        channels: of the description, `removable` being those that a rule attached.
        rule: the rule that decides about the domain; None: no rule matches it.
        is_live: whether this describes the running domain, not its definition.
    """
    if rule is None:
        return plan_offboarding(channels)
    wanted = rule.wanted(channels.vcpus)
    # A channel outlives the unplugging of its vCPU: the guest may have it open.
    surplus = _NONE if rule.follows_vcpus else channels.removable - wanted
    return _plan(channels, wanted, surplus, is_live=is_live)


def plan_onboarding(
    channels: DomainChannels, numbers: frozenset[int] | None = None, *, is_live: bool
) -> ChannelPlan:
    """Plan to attach missing channels and to detach none.

    Args:
        channels: of the description.
        numbers: channels that it should have; None: one for each vCPU.
        is_live: whether this describes the running domain, not its definition.
    """
    wanted = channels.vcpus if numbers is None else numbers
    return _plan(channels, wanted, _NONE, is_live=is_live)


def plan_offboarding(
    channels: DomainChannels, numbers: frozenset[int] | None = None
) -> ChannelPlan:
    """Plan to detach removable channels.

    Args:
        channels: of the description.
        numbers: detach only these of them; None: all.
    """
    removable = channels.removable
    unwanted = removable if numbers is None else removable & numbers
    return ChannelPlan(detach=tuple(sorted(unwanted)))


def _plan(
    channels: DomainChannels,
    wanted: Collection[int],
    surplus: frozenset[int],
    *,
    is_live: bool,
) -> ChannelPlan:
    missing = sorted(frozenset(wanted) - channels.present)
    room = channels.free_ports + len(surplus) if is_live else len(missing)
    return ChannelPlan(
        detach=tuple(sorted(surplus)),
        attach=tuple(missing[:room]),
        waiting=tuple(missing[room:]),
    )
