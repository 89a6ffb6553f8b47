# SPDX-License-Identifier: Apache-2.0
"""What is done with one channel when its state changes.

The states and the transitions between them are the table of `channel.lifecycle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelEvent, ChannelState, next_state
from orchestrator.controller import groups
from orchestrator.controller.actions import (
    ConnectChannel,
    EndGuestPolicies,
    Report,
    Severity,
)
from orchestrator.controller.records import CONNECTED_STATES
from orchestrator.monitor.link.commands import CloseChannel, WithdrawVotes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import ChannelRecord, DomainRecord
    from orchestrator.values.domain import DomainId

FIRST_RETRY_S = 0.02
"""A guest that just started listens within milliseconds."""
LONGEST_RETRY_S = 5.0
"""A refused connect costs some 20 us; a stopped guest's socket may stay for hours."""
_BAD_STATES = frozenset({ChannelState.REFUSED, ChannelState.QUARANTINED})


def withdraw(uuid: DomainId, number: int | None, cause: str) -> list[Action]:
    """End the policies and votes of a guest over one channel; None: over all.

    Policies end first, so that none of them votes after the end of the votes.

    Args:
        uuid: the domain.
        number: of the channel.
        cause: why, for people.
    """
    return [EndGuestPolicies(uuid, number, cause), WithdrawVotes(uuid, number)]


def close(uuid: DomainId, number: int, cause: str) -> list[Action]:
    """Close a channel, and end the policies of its guest."""
    return [EndGuestPolicies(uuid, number, cause), CloseChannel(uuid, number)]


def connect(
    record: DomainRecord, channel: ChannelRecord, first_retry_s: float = FIRST_RETRY_S
) -> ConnectChannel:
    """Connect a channel: at once, or after the pause that failed attempts require."""
    delay_s = 0.0
    if channel.attempts:
        # Beyond 16 doublings the longest retry is reached from any first one.
        doubled = first_retry_s * 2 ** min(channel.attempts - 1, 16)
        delay_s = min(doubled, LONGEST_RETRY_S)
    channel.attempts += 1
    if channel.orphaned_s is not None:
        channel.orphaned_s += delay_s
    path = channel.spec.path or ""
    return ConnectChannel(record.spec.uuid, channel.spec.number, path, delay_s)


def move(
    record: DomainRecord, channel: ChannelRecord, event: ChannelEvent, reason: str = ""
) -> list[Action]:
    """Enter the next state; report it if it is another one."""
    old = channel.state
    channel.state = next_state(old, event)
    return _report(record, channel, old, reason)


def conclude(
    record: DomainRecord, channel: ChannelRecord, event: ChannelEvent, reason: str = ""
) -> list[Action]:
    """Record the outcome of an attempt to connect; a scheduled one begins first."""
    old = channel.state
    begun = old
    if old is not ChannelState.CONNECTING:
        begun = next_state(old, ChannelEvent.ATTEMPT)
    channel.state = next_state(begun, event)
    return _report(record, channel, old, reason)


def _report(
    record: DomainRecord, channel: ChannelRecord, old: ChannelState, reason: str
) -> list[Action]:
    is_news = channel.state is not old or (reason and reason != channel.reason)
    channel.reason = reason
    if not is_news:
        return []
    is_bad = channel.state in _BAD_STATES
    severity = Severity.WARNING if is_bad else Severity.INFO
    return [state_report(record, channel, severity)]


def state_report(
    record: DomainRecord, channel: ChannelRecord, severity: Severity
) -> Report:
    """Return a report of the state of a channel."""
    number, state = channel.spec.number, channel.state
    because = f": {channel.reason}" if channel.reason else ""
    return Report(
        "channel-state",
        f"channel {number} is {state}{because}",
        domain=record.spec.name,
        severity=severity,
        facts={"number": number, "state": str(state)},
    )


def find(
    inventory: Inventory, uuid: DomainId, number: int
) -> tuple[DomainRecord, ChannelRecord] | None:
    """Return a channel and its domain; None: there is no such channel."""
    record = inventory.domains.get(uuid)
    channel = record.channels.get(number) if record else None
    return (record, channel) if record and channel else None


def leave_groups(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Drop groups that no domain needs without the channel that closed."""
    if record.is_connected():
        return []
    return groups.need(inventory, record.used_groups(), record)


def connected_channels(
    inventory: Inventory,
) -> Iterable[tuple[DomainRecord, ChannelRecord]]:
    """Return the channels that are connected, with their domains."""
    return [
        (record, channel)
        for record in inventory.domains.values()
        for channel in record.channels.values()
        if channel.state in CONNECTED_STATES
    ]
