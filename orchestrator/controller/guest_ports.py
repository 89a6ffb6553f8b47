# SPDX-License-Identifier: Apache-2.0
"""Guests' ends of channels: what a program requested ends when its port is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller.actions import DescribeDomain, EndPortSession
from orchestrator.controller.channel_transitions import find

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory

PORT_STATE_LAGS_NS = 1_100_000_000
"""How old the state of a port in a description may be: QEMU reports it once a second
at most (monitor.c, VSERPORT_CHANGE), and libvirt takes a moment."""


def on_guest_port(inventory: Inventory, event: events.GuestPortChanged) -> list[Action]:
    """End the session of the guest program that had the port before this change.

    An opened port ends one, too: the report of the close before it may be missing.
    """
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    if event.is_open:
        record.is_reboot_reported = False
    ends: list[Action] = []
    for number, channel in record.channels.items():
        if channel.spec.alias == event.alias:
            channel.is_close_doubted = False
            is_closed = not event.is_open
            end = EndPortSession(event.uuid, number, event.at_ns, is_closed=is_closed)
            ends.append(end)
    if event.is_open and record.awaited_policies:
        ends.append(DescribeDomain(event.uuid))
    return ends


def on_close_doubted(
    inventory: Inventory, event: events.PortCloseUnconfirmed
) -> list[Action]:
    """Read the port's state: bytes came after a close, and none since."""
    found = find(inventory, event.uuid, event.number)
    if found is None:
        return []
    found[1].is_close_doubted = True
    return [DescribeDomain(event.uuid)]
