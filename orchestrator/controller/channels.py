# SPDX-License-Identifier: Apache-2.0
"""Channels: connected as soon as possible, and again after every disconnect.

The states of a channel and the transitions between them are the table of
`channel.lifecycle`; this module adds what is done at each transition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelEvent, ChannelState, next_state
from orchestrator.controller import groups, shared_sockets
from orchestrator.controller.actions import (
    ConnectChannel,
    DescribeDomain,
    EndGuestPolicies,
    EndPortSession,
    Report,
    SaveState,
    Severity,
)
from orchestrator.controller.records import CONNECTED_STATES, ChannelRecord
from orchestrator.monitor.link.commands import (
    CloseChannel,
    SwitchChannel,
    WithdrawVotes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import ChannelKey, DomainRecord
    from orchestrator.values.domain import ChannelSpec, DomainId

FIRST_RETRY_S = 0.02
"""A guest that just started listens within milliseconds."""
IN_USE_RETRY_S = 1.0
"""A program that uses a channel does so for longer."""
LASTING_ATTEMPTS = 4
"""A channel that is in use at the first attempts may be that of a QEMU that has not
accepted yet: on a busy host, a starting one takes seconds. Later it is a problem."""
LONGEST_RETRY_S = 5.0
"""A refused connect costs some 20 us; a stopped guest's socket may stay for hours."""
PORT_STATE_LAGS_NS = 1_100_000_000
"""How old the state of a port in a description may be: QEMU reports it once a second
at most (monitor.c, VSERPORT_CHANGE), and libvirt takes a moment."""
VOTES_WAIT_S = 1.0
"""How long votes outlive the monitor that held their channel. A guest that still runs
is connected again in milliseconds. Without a channel it cannot change its vote: one
that requested a low frequency would be slow for as long as its domain runs."""


_BAD_STATES = frozenset({ChannelState.REFUSED, ChannelState.QUARANTINED})
FIRST_QUARANTINE_S = 10.0
LONGEST_QUARANTINE_S = 600.0
CALM_RESYNCS = 20
"""After so many without abuse, 10 minutes by default, a quarantine is short again."""


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
            at_ns = asked_ns - PORT_STATE_LAGS_NS
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
    known = (_find(inventory, *key) for key in sorted(shared))
    for record, channel in filter(None, known):
        uuid, number = record.spec.uuid, channel.spec.number
        reason = shared_sockets.describe(inventory, uuid, channel)
        if not reason:
            if channel.state is ChannelState.REFUSED:
                actions.append(_connect(record, channel))
            else:
                actions += _begin(record, channel)
        elif (channel.state, channel.reason) != (ChannelState.REFUSED, reason):
            is_connected = channel.state in CONNECTED_STATES
            touched = record.used_groups() if is_connected else ()
            channel.attempts = channel.quarantines = 0
            channel.orphaned_s = None
            actions += [
                *_close(uuid, number, reason),
                *_move(record, channel, ChannelEvent.SHARED, reason),
                *groups.need(inventory, touched),
            ]
    return actions


def withdraw(uuid: DomainId, number: int | None, cause: str) -> list[Action]:
    """End the policies and votes of a guest over one channel; None: over all.

    Policies end first, so that none of them votes after the end of the votes.

    Args:
        uuid: the domain.
        number: of the channel.
        cause: why, for people.
    """
    return [EndGuestPolicies(uuid, number, cause), WithdrawVotes(uuid, number)]


def _close(uuid: DomainId, number: int, cause: str) -> list[Action]:
    return [EndGuestPolicies(uuid, number, cause), CloseChannel(uuid, number)]


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
    return [_connect(record, channel)]


def _end(record: DomainRecord, channel: ChannelRecord, cause: str) -> list[Action]:
    was_tried = channel.attempts or channel.state in CONNECTED_STATES
    channel.attempts = channel.quarantines = 0
    channel.orphaned_s = None
    if channel.state in (ChannelState.ABSENT, ChannelState.CLOSED) and not was_tried:
        return []
    return [
        *_close(record.spec.uuid, channel.spec.number, cause),
        *_move(record, channel, ChannelEvent.WITHDRAWN),
    ]


def _connect(
    record: DomainRecord, channel: ChannelRecord, first_retry_s: float = FIRST_RETRY_S
) -> ConnectChannel:
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


def _move(
    record: DomainRecord, channel: ChannelRecord, event: ChannelEvent, reason: str = ""
) -> list[Action]:
    old = channel.state
    channel.state = next_state(old, event)
    return _report(record, channel, old, reason)


def _conclude(
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
    return [_state_report(record, channel, severity)]


def _state_report(
    record: DomainRecord, channel: ChannelRecord, severity: Severity
) -> Report:
    number, state = channel.spec.number, channel.state
    because = f": {channel.reason}" if channel.reason else ""
    return Report(
        "channel-state",
        f"channel {number} is {state}{because}",
        domain=record.spec.name,
        severity=severity,
        facts={"number": number, "state": str(state)},
    )


def _find(
    inventory: Inventory, uuid: DomainId, number: int
) -> tuple[DomainRecord, ChannelRecord] | None:
    record = inventory.domains.get(uuid)
    channel = record.channels.get(number) if record else None
    return (record, channel) if record and channel else None


def _find_attempt(
    inventory: Inventory,
    event: events.ChannelConnected
    | events.ChannelAbsent
    | events.ChannelContended
    | events.ChannelRefused,
) -> tuple[DomainRecord, ChannelRecord] | None:
    found = _find(inventory, event.uuid, event.number)
    if found is None:
        return None
    _, channel = found
    is_awaited = channel.attempts and channel.state not in CONNECTED_STATES
    return found if is_awaited and channel.spec.path == event.path else None


def on_connected(inventory: Inventory, event: events.ChannelConnected) -> list[Action]:
    """Prepare the clock groups that the guest may request now."""
    found = _find_attempt(inventory, event)
    if found is None:
        return _close(event.uuid, event.number, "the channel is gone")
    record, channel = found
    was_connected = record.is_connected()
    channel.attempts = 0
    channel.orphaned_s = None
    if channel.is_enabled:
        actions = _conclude(record, channel, ChannelEvent.CONNECTED)
    else:
        actions = _conclude(record, channel, ChannelEvent.CONNECTED_DISABLED)
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
    actions = _conclude(record, channel, ChannelEvent.NO_LISTENER, event.reason)
    actions += _end_votes(record, channel, after_s=VOTES_WAIT_S)
    return [*actions, _connect(record, channel)]


def on_contended(inventory: Inventory, event: events.ChannelContended) -> list[Action]:
    """Retry later: another program is connected to the socket."""
    found = _find_attempt(inventory, event)
    if found is None:
        return []
    record, channel = found
    actions = _conclude(record, channel, ChannelEvent.IN_USE, event.reason)
    if channel.attempts == LASTING_ATTEMPTS:
        actions = [_state_report(record, channel, Severity.WARNING)]
    actions += _end_votes(record, channel, after_s=VOTES_WAIT_S)
    return [*actions, _connect(record, channel, IN_USE_RETRY_S)]


def on_refused(inventory: Inventory, event: events.ChannelRefused) -> list[Action]:
    """Retry at the next resync: only a change on the host helps."""
    found = _find_attempt(inventory, event)
    if found is None:
        return []
    record, channel = found
    actions = _conclude(record, channel, ChannelEvent.FORBIDDEN, event.reason)
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
            _connect(record, channel)
            for channel in record.channels.values()
            if channel.state is ChannelState.REFUSED
            and not shared_sockets.find_others(inventory, record.spec.uuid, channel)
        ]
    return actions


def on_endpoint_closed(
    inventory: Inventory, event: events.EndpointClosed
) -> list[Action]:
    """Ask libvirt about the domain and retry: its QEMU ended or disconnected."""
    found = _find(inventory, event.uuid, event.number)
    if found is None or found[1].state not in CONNECTED_STATES:
        return []
    record, channel = found
    channel.attempts = 1
    return [
        *_move(record, channel, ChannelEvent.HUNG_UP, event.reason),
        # The monitor has ended its votes; what it installed ends too.
        EndGuestPolicies(event.uuid, event.number, "the channel closed"),
        _connect(record, channel),
        DescribeDomain(event.uuid),
        *_leave_groups(inventory, record),
    ]


def _leave_groups(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Drop groups that no domain needs without the channel that closed."""
    if record.is_connected():
        return []
    return groups.need(inventory, record.used_groups(), record)


def on_abused(inventory: Inventory, event: events.ChannelAbused) -> list[Action]:
    """Close a channel for a while: it costs more than a guest may."""
    found = _find(inventory, event.uuid, event.number)
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
        *_move(record, channel, ChannelEvent.ABUSED, reason),
        *_close(event.uuid, event.number, f"its channel {reason}"),
        _leave_quarantine(record, channel),
        *_leave_groups(inventory, record),
    ]


def _quarantine_s(channel: ChannelRecord) -> float:
    doubled = FIRST_QUARANTINE_S * 2.0 ** min(channel.quarantines - 1, 16)
    return min(doubled, LONGEST_QUARANTINE_S)


def _leave_quarantine(record: DomainRecord, channel: ChannelRecord) -> ConnectChannel:
    """Connect a channel again when its quarantine is over."""
    channel.attempts = 1
    path = channel.spec.path or ""
    delay_s = _quarantine_s(channel)
    return ConnectChannel(record.spec.uuid, channel.spec.number, path, delay_s)


def forgive(inventory: Inventory) -> None:
    """Forget the quarantines of channels that have been open for long without abuse."""
    for _, channel in _connected(inventory):
        channel.calm_resyncs += 1
        if channel.calm_resyncs >= CALM_RESYNCS:
            channel.quarantines = 0


def on_switched(inventory: Inventory, event: events.ChannelSwitched) -> list[Action]:
    """Enable or disable a channel, connected or not."""
    found = _find(inventory, event.uuid, event.number)
    if found is None:
        return []
    record, channel = found
    is_enabled = event.is_enabled
    channel.disabled_by = None if is_enabled else event.by
    change = ChannelEvent.SWITCHED_ON if is_enabled else ChannelEvent.SWITCHED_OFF
    word = "enabled" if is_enabled else "disabled"
    text = f"channel {event.number} {word} by {event.by}"
    actions: list[Action] = [Report("operator", text, domain=record.spec.name)]
    actions += _move(record, channel, change, channel.reason)
    if not is_enabled:
        cause = f"the channel was disabled by {event.by}"
        actions.append(EndGuestPolicies(event.uuid, event.number, cause))
    if is_enabled and channel.state is ChannelState.QUARANTINED:
        channel.attempts = channel.quarantines = 0
        actions.append(_connect(record, channel))
    if channel.state in CONNECTED_STATES:
        switch = SwitchChannel(event.uuid, event.number, is_enabled=is_enabled)
        actions.append(switch)
    actions.append(SaveState())
    return actions


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
    found = _find(inventory, event.uuid, event.number)
    if found is None:
        return []
    found[1].is_close_doubted = True
    return [DescribeDomain(event.uuid)]


def break_all(inventory: Inventory) -> list[Action]:
    """Mark every channel as disconnected: the monitor died."""
    actions: list[Action] = []
    for record, channel in _connected(inventory):
        channel.attempts = 1
        channel.orphaned_s = 0.0
        actions += _move(record, channel, ChannelEvent.HUNG_UP, "the monitor ended")
    return actions


def connect_all(inventory: Inventory) -> list[Action]:
    """Connect every channel for a new monitor."""
    actions: list[Action] = []
    for record in inventory.domains.values():
        for channel in record.channels.values():
            if channel.state is ChannelState.QUARANTINED:
                actions.append(_leave_quarantine(record, channel))
            elif channel.attempts:
                channel.attempts = 0
                actions.append(_connect(record, channel))
    return actions


def _connected(
    inventory: Inventory,
) -> Iterable[tuple[DomainRecord, ChannelRecord]]:
    return [
        (record, channel)
        for record in inventory.domains.values()
        for channel in record.channels.values()
        if channel.state in CONNECTED_STATES
    ]
