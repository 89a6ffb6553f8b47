# SPDX-License-Identifier: Apache-2.0
"""Channels: connected as soon as possible, and again after every disconnect.

What is done at each transition of a channel's state is in `channel_transitions`; this
module decides which events cause one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelEvent, ChannelState, next_state
from orchestrator.controller import groups, guest_ports, quarantine, shared_sockets
from orchestrator.controller.actions import (
    DescribeDomain,
    EndGuestPolicies,
    EndPortSession,
    Report,
    SaveState,
    Severity,
)
from orchestrator.controller.channel_transitions import (
    close,
    conclude,
    connect,
    connected_channels,
    find,
    leave_groups,
    move,
    state_report,
    withdraw,
)
from orchestrator.controller.records import CONNECTED_STATES, ChannelRecord
from orchestrator.monitor.link.commands import SwitchChannel

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import ChannelKey, DomainRecord
    from orchestrator.values.domain import ChannelSpec

IN_USE_RETRY_S = 1.0
"""A program that uses a channel does so for longer."""
LASTING_ATTEMPTS = 4
"""A channel that is in use at the first attempts may be that of a QEMU that has not
accepted yet: on a busy host, a starting one takes seconds. Later it is a problem."""
VOTES_WAIT_S = 1.0
"""How long votes outlive the monitor that held their channel. A guest that still runs
is connected again in milliseconds. Without a channel it cannot change its vote: one
that requested a low frequency would be slow for as long as its domain runs."""


def reconcile(
    inventory: Inventory, record: DomainRecord, *, is_restarted: bool, asked_ns: int
) -> list[Action]:
    """Compare a domain's channels with its new description.

    Args:
        inventory: with the channels of the other domains.
        record: the domain.
        is_restarted: whether it is another run than the one described before.
        asked_ns: when (monotonic) the description was asked for.
    """
    uuid = record.spec.uuid
    described = {spec.number: spec for spec in record.spec.channels}
    actions: list[Action] = []
    shared: set[ChannelKey] = set()
    for number in [n for n in record.channels if n not in described]:
        channel = record.channels.pop(number)
        shared |= shared_sockets.find_others(inventory, uuid, channel)
        shared_sockets.release(inventory, uuid, channel)
        actions += _end(record, channel, "the channel is gone")
    for number, spec in described.items():
        channel = record.channels.setdefault(number, ChannelRecord(spec))
        was_guest_connected = channel.spec.is_guest_connected
        is_moved = is_restarted or _place(spec) != _place(channel.spec)
        if is_moved or not record.spec.state.is_active:
            is_off = not record.spec.state.is_active
            why = "the domain was shut off" if is_off else "the domain was restarted"
            actions += _end(record, channel, why)
        if is_restarted or not record.spec.state.is_active:
            channel.refusals.clear()
        channel.spec = spec
        shared |= _update_socket(inventory, record, channel)
        if (uuid, number) not in shared:
            actions += _begin(record, channel)
        has_closed = was_guest_connected and spec.is_guest_connected is False
        if has_closed or (channel.is_close_doubted and not spec.is_guest_connected):
            at_ns = asked_ns - guest_ports.PORT_STATE_LAGS_NS
            end = EndPortSession(uuid, number, at_ns, is_closed=True)
            actions.append(end)
        channel.is_close_doubted = False
    return actions + _separate(inventory, shared)


def _place(spec: ChannelSpec) -> tuple[object, ...]:
    """Return what needs another connection when it changes."""
    return spec.path, spec.steps


def _update_socket(
    inventory: Inventory, record: DomainRecord, channel: ChannelRecord
) -> set[ChannelKey]:
    """Record a channel's socket; return all channels that share, or shared, one."""
    uuid = record.spec.uuid
    before = shared_sockets.find_others(inventory, uuid, channel)
    if record.spec.state.is_active:
        shared_sockets.claim(inventory, uuid, channel)
    else:
        shared_sockets.release(inventory, uuid, channel)
    others = before | shared_sockets.find_others(inventory, uuid, channel)
    return others | {(uuid, channel.spec.number)} if others else others


def _separate(inventory: Inventory, shared: set[ChannelKey]) -> list[Action]:
    """Close the channels that share a socket, connect those that do so no longer."""
    actions: list[Action] = []
    known = (find(inventory, *key) for key in sorted(shared))
    for record, channel in filter(None, known):
        uuid, number = record.spec.uuid, channel.spec.number
        reason = shared_sockets.describe(inventory, uuid, channel)
        if not reason:
            if channel.state is ChannelState.REFUSED:
                actions.append(connect(record, channel))
            else:
                actions += _begin(record, channel)
        elif (channel.state, channel.reason) != (ChannelState.REFUSED, reason):
            is_connected = channel.state in CONNECTED_STATES
            touched = record.used_groups() if is_connected else ()
            channel.attempts = channel.quarantines = 0
            channel.orphaned_s = None
            actions += [
                *close(uuid, number, reason),
                *move(record, channel, ChannelEvent.SHARED, reason),
                *groups.need(inventory, touched),
            ]
    return actions


def close_all(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Close every channel of a domain that no longer exists."""
    uuid = record.spec.uuid
    actions: list[Action] = []
    shared: set[ChannelKey] = set()
    for channel in record.channels.values():
        shared |= shared_sockets.find_others(inventory, uuid, channel)
        shared_sockets.release(inventory, uuid, channel)
        actions += _end(record, channel, "the domain is gone")
    return actions + _separate(inventory, shared)


def _begin(record: DomainRecord, channel: ChannelRecord) -> list[Action]:
    is_idle = channel.state in (ChannelState.ABSENT, ChannelState.CLOSED)
    if not is_idle or channel.attempts or not record.spec.state.is_active:
        return []
    if channel.spec.path is None:
        channel.reason = "libvirt has not assigned its socket path yet"
        return []
    # Not reported: it takes milliseconds, and its outcome is.
    channel.state = next_state(channel.state, ChannelEvent.ATTEMPT)
    channel.reason = ""
    return [connect(record, channel)]


def _end(record: DomainRecord, channel: ChannelRecord, cause: str) -> list[Action]:
    was_tried = channel.attempts or channel.state in CONNECTED_STATES
    channel.attempts = channel.quarantines = 0
    channel.orphaned_s = None
    if channel.state in (ChannelState.ABSENT, ChannelState.CLOSED) and not was_tried:
        return []
    return [
        *close(record.spec.uuid, channel.spec.number, cause),
        *move(record, channel, ChannelEvent.WITHDRAWN),
    ]


def _find_attempt(
    inventory: Inventory,
    event: events.ChannelConnected
    | events.ChannelAbsent
    | events.ChannelContended
    | events.ChannelRefused,
) -> tuple[DomainRecord, ChannelRecord] | None:
    found = find(inventory, event.uuid, event.number)
    if found is None:
        return None
    _, channel = found
    is_awaited = channel.attempts and channel.state not in CONNECTED_STATES
    return found if is_awaited and channel.spec.path == event.path else None


def on_connected(inventory: Inventory, event: events.ChannelConnected) -> list[Action]:
    """Prepare the clock groups that the guest may request now."""
    found = _find_attempt(inventory, event)
    if found is None:
        return close(event.uuid, event.number, "the channel is gone")
    record, channel = found
    was_connected = record.is_connected()
    channel.attempts = 0
    channel.orphaned_s = None
    if channel.is_enabled:
        actions = conclude(record, channel, ChannelEvent.CONNECTED)
    else:
        actions = conclude(record, channel, ChannelEvent.CONNECTED_DISABLED)
        actions.append(SwitchChannel(event.uuid, event.number, is_enabled=False))
    if not was_connected:
        actions += groups.need(inventory, record.used_groups(), record)
    return actions


def on_absent(inventory: Inventory, event: events.ChannelAbsent) -> list[Action]:
    """Retry soon: no process listens on the socket yet."""
    found = _find_attempt(inventory, event)
    if found is None:
        return []
    record, channel = found
    actions = conclude(record, channel, ChannelEvent.NO_LISTENER, event.reason)
    actions += _end_votes(record, channel, after_s=VOTES_WAIT_S)
    return [*actions, connect(record, channel)]


def on_contended(inventory: Inventory, event: events.ChannelContended) -> list[Action]:
    """Retry later: another program is connected to the socket."""
    found = _find_attempt(inventory, event)
    if found is None:
        return []
    record, channel = found
    actions = conclude(record, channel, ChannelEvent.IN_USE, event.reason)
    if channel.attempts == LASTING_ATTEMPTS:
        actions = [state_report(record, channel, Severity.WARNING)]
    actions += _end_votes(record, channel, after_s=VOTES_WAIT_S)
    return [*actions, connect(record, channel, IN_USE_RETRY_S)]


def on_refused(inventory: Inventory, event: events.ChannelRefused) -> list[Action]:
    """Retry at the next resync: only a change on the host helps."""
    found = _find_attempt(inventory, event)
    if found is None:
        return []
    record, channel = found
    actions = conclude(record, channel, ChannelEvent.FORBIDDEN, event.reason)
    return actions + _end_votes(record, channel)


def _end_votes(
    record: DomainRecord, channel: ChannelRecord, after_s: float = 0.0
) -> list[Action]:
    """End votes that have waited this long for a new endpoint."""
    if channel.orphaned_s is None or channel.orphaned_s < after_s:
        return []
    channel.orphaned_s = None
    number = channel.spec.number
    return [
        *withdraw(record.spec.uuid, number, "the channel has not reconnected"),
        Report(
            "channel-state",
            f"votes of channel {number} ended: it has not reconnected",
            domain=record.spec.name,
            severity=Severity.WARNING,
            facts={"number": number},
        ),
    ]


def retry_refused(inventory: Inventory) -> list[Action]:
    """Retry refused channels: the cause may have been removed.

    Those that share a socket wait for another description.
    """
    actions: list[Action] = []
    for record in inventory.domains.values():
        actions += [
            connect(record, channel)
            for channel in record.channels.values()
            if channel.state is ChannelState.REFUSED
            and not shared_sockets.find_others(inventory, record.spec.uuid, channel)
        ]
    return actions


def on_endpoint_closed(
    inventory: Inventory, event: events.EndpointClosed
) -> list[Action]:
    """Ask libvirt about the domain and retry: its QEMU ended or disconnected."""
    found = find(inventory, event.uuid, event.number)
    if found is None or found[1].state not in CONNECTED_STATES:
        return []
    record, channel = found
    channel.attempts = 1
    return [
        *move(record, channel, ChannelEvent.HUNG_UP, event.reason),
        # The monitor has ended its votes; what it installed ends too.
        EndGuestPolicies(event.uuid, event.number, "the channel closed"),
        connect(record, channel),
        DescribeDomain(event.uuid),
        *leave_groups(inventory, record),
    ]


def on_switched(inventory: Inventory, event: events.ChannelSwitched) -> list[Action]:
    """Enable or disable a channel, connected or not."""
    found = find(inventory, event.uuid, event.number)
    if found is None:
        return []
    record, channel = found
    is_enabled = event.is_enabled
    channel.disabled_by = None if is_enabled else event.by
    change = ChannelEvent.SWITCHED_ON if is_enabled else ChannelEvent.SWITCHED_OFF
    word = "enabled" if is_enabled else "disabled"
    text = f"channel {event.number} {word} by {event.by}"
    actions: list[Action] = [Report("operator", text, domain=record.spec.name)]
    actions += move(record, channel, change, channel.reason)
    if not is_enabled:
        cause = f"the channel was disabled by {event.by}"
        actions.append(EndGuestPolicies(event.uuid, event.number, cause))
    if is_enabled and channel.state is ChannelState.QUARANTINED:
        channel.attempts = channel.quarantines = 0
        actions.append(connect(record, channel))
    if channel.state in CONNECTED_STATES:
        switch = SwitchChannel(event.uuid, event.number, is_enabled=is_enabled)
        actions.append(switch)
    actions.append(SaveState())
    return actions


def break_all(inventory: Inventory) -> list[Action]:
    """Mark every channel as disconnected: the monitor died."""
    actions: list[Action] = []
    for record, channel in connected_channels(inventory):
        channel.attempts = 1
        channel.orphaned_s = 0.0
        actions += move(record, channel, ChannelEvent.HUNG_UP, "the monitor ended")
    return actions


def connect_all(inventory: Inventory) -> list[Action]:
    """Connect every channel for a new monitor."""
    actions: list[Action] = []
    for record in inventory.domains.values():
        for channel in record.channels.values():
            if channel.state is ChannelState.QUARANTINED:
                actions.append(quarantine.reconnect_afterwards(record, channel))
            elif channel.attempts:
                channel.attempts = 0
                actions.append(connect(record, channel))
    return actions
