# SPDX-License-Identifier: Apache-2.0
"""Channels that are closed for a while, because their guests cost too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelEvent
from orchestrator.controller.actions import ConnectChannel
from orchestrator.controller.channel_transitions import (
    close,
    connected_channels,
    find,
    leave_groups,
    move,
)
from orchestrator.controller.records import CONNECTED_STATES

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import ChannelRecord, DomainRecord

FIRST_QUARANTINE_S = 10.0
LONGEST_QUARANTINE_S = 600.0
CALM_RESYNCS = 20
"""After so many without abuse, 10 minutes by default, a quarantine is short again."""


def on_abused(inventory: Inventory, event: events.ChannelAbused) -> list[Action]:
    """Close a channel for a while: it costs more than a guest may."""
    found = find(inventory, event.uuid, event.number)
    if found is None or found[1].state not in CONNECTED_STATES:
        return []
    record, channel = found
    channel.quarantines += 1
    inventory.occurrences.quarantines += 1
    channel.calm_resyncs = 0
    budget = inventory.config.channels.budget
    abuse = "garbage" if event.is_garbage else f"more than {budget} requests per second"
    reason = f"sent {abuse}; closed for {_quarantine_s(channel):.0f} s"
    return [
        *move(record, channel, ChannelEvent.ABUSED, reason),
        *close(event.uuid, event.number, f"its channel {reason}"),
        reconnect_afterwards(record, channel),
        *leave_groups(inventory, record),
    ]


def _quarantine_s(channel: ChannelRecord) -> float:
    doubled = FIRST_QUARANTINE_S * 2.0 ** min(channel.quarantines - 1, 16)
    return min(doubled, LONGEST_QUARANTINE_S)


def reconnect_afterwards(
    record: DomainRecord, channel: ChannelRecord
) -> ConnectChannel:
    """Connect a quarantined channel again when its quarantine is over."""
    channel.attempts = 1
    path = channel.spec.path or ""
    delay_s = _quarantine_s(channel)
    return ConnectChannel(record.spec.uuid, channel.spec.number, path, delay_s)


def forgive(inventory: Inventory) -> None:
    """Forget the quarantines of channels that have been open for long without abuse."""
    for _, channel in connected_channels(inventory):
        channel.calm_resyncs += 1
        if channel.calm_resyncs >= CALM_RESYNCS:
            channel.quarantines = 0
