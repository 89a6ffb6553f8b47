# SPDX-License-Identifier: Apache-2.0
"""Channels of running domains that name one socket; none of them is connected.

The socket identifies the domain whose guest is at the other end. libvirt replaces a
socket that exists, so of several domains with one path the latest started listens, and
a connection for another one would be a connection to the wrong guest. A clone whose
XML kept an explicit path is the usual case.

Paths can be links to one directory, so a socket is known by its path and, as soon as
it exists, by its identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import ChannelKey, ChannelRecord
    from orchestrator.values.domain import DomainId


def claim(inventory: Inventory, uuid: DomainId, channel: ChannelRecord) -> None:
    """Record the socket of a running domain's channel, instead of an earlier one."""
    spec = channel.spec
    names = (spec.path or "", spec.socket or "")
    if names != channel.sockets:
        release(inventory, uuid, channel)
        channel.sockets = names
        for name in filter(None, names):
            inventory.channels_at.setdefault(name, set()).add((uuid, spec.number))


def release(inventory: Inventory, uuid: DomainId, channel: ChannelRecord) -> None:
    """Forget the socket of a channel: its domain is off, or the channel is gone."""
    for name in filter(None, channel.sockets):
        users = inventory.channels_at[name]
        users.discard((uuid, channel.spec.number))
        if not users:
            del inventory.channels_at[name]
    channel.sockets = ()


def find_others(
    inventory: Inventory, uuid: DomainId, channel: ChannelRecord
) -> set[ChannelKey]:
    """Return the other channels that name the socket of a channel."""
    users: set[ChannelKey] = set()
    for name in channel.sockets:
        if name and len(found := inventory.channels_at[name]) > 1:  # rarely
            users |= found
    users.discard((uuid, channel.spec.number))
    return users


def describe(inventory: Inventory, uuid: DomainId, channel: ChannelRecord) -> str:
    """Name the channels that share its socket, for people; empty: none does."""
    others = [
        f"channel {number} of this domain"
        if other == uuid
        else f"channel {number} of domain {inventory.domains[other].spec.name}"
        for other, number in sorted(find_others(inventory, uuid, channel))
    ]
    if not others:
        return ""
    verb = "has" if len(others) == 1 else "have"
    return f"{' and '.join(others)} {verb} the same socket path {channel.spec.path}"
