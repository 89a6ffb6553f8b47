# SPDX-License-Identifier: Apache-2.0
"""Turns libvirt's events into events of the daemon's.

Theory of operation: almost every event says only "something changed on this domain",
because no more can be relied on: a rename is an UNDEFINED and a DEFINED, a cold boot is
RESUMED before STARTED, a reset is two or three REBOOTs. Even UNDEFINED does not mean
gone (the domain may continue as a transient one); the next description shows it.

A callback runs in libvirt's event thread: it copies what it needs, posts an event and
returns. It neither calls a libvirt function that talks to a daemon nor logs, because
all other events wait for it.

Source: virDomainEventID of libvirt-domain.h; QEMU's qapi/char.json (VSERPORT_CHANGE).
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, cast

import libvirt
import libvirt_qemu

from orchestrator import events
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


_LIFECYCLE: Mapping[int, str] = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: "suspended by its guest",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}

CHANGES: Mapping[int, Callable[..., str]] = {
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: (
        lambda event, _detail: _LIFECYCLE.get(event, "changed")
    ),
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED: lambda alias: f"device {alias} added",
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED: lambda alias: f"device {alias} removed",
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE: lambda _kind, _uri: "metadata changed",
    libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE: lambda _values: "tuning changed",
    libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED: lambda _values: "job completed",
}
"""The events that mean "describe this domain again", and their texts for the log.

Each function gets the arguments that libvirt passes between the domain and the opaque
value.
"""


class DeviceEventCounter:
    """Counts the events of devices, and wakes threads that wait for the next one.

    Synchronization: any thread; the lock is never held across a call to other code.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def increment(self) -> None:
        """Count an event and wake all waiting threads."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def count(self) -> int:
        """Return the number of events; read it before checking what they changed."""
        with self._changed:
            return self._count

    def wait_for_more_than(self, count: int, timeout_s: float) -> None:
        """Return once there were more than `count` events, or after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > count, timeout_s)


class EventRelay:
    """Receives all events of a connection and posts the daemon's.

    Synchronization: `register` and `deregister` in the connecting thread; the rest is
    called by libvirt from its event thread.
    """

    def __init__(
        self,
        post: Callable[[events.Event], None],
        device_events: DeviceEventCounter,
    ) -> None:
        self._post = post
        self._device_events = device_events
        self._is_silent = False
        self._ids: list[int] = []
        self._monitor_ids: list[int] = []

    def register(self, connection: libvirt.virConnect, *, is_read_only: bool) -> None:
        """Register for every event that the driver and the access right permit."""
        self._ids = list(self._register_all(connection))
        if not is_read_only:
            self._monitor_ids = list(self._register_ports(connection))

    def deregister(self, connection: libvirt.virConnect) -> None:
        """Undo `register`, as far as the connection still permits."""
        for number in self._ids:
            _call_quietly(connection.domainEventDeregisterAny, number)
        for number in self._monitor_ids:
            _call_quietly(libvirt_qemu.qemuMonitorEventDeregister, connection, number)
        self._ids, self._monitor_ids = [], []

    def silence(self) -> None:
        """Stop posting events."""
        self._is_silent = True

    def _register_all(self, connection: libvirt.virConnect) -> Iterable[int]:
        special = {
            libvirt.VIR_DOMAIN_EVENT_ID_REBOOT: self._on_reboot,
            libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED: self._on_removal_failed,
        }
        callbacks = dict.fromkeys(CHANGES, self._on_change) | special
        for event, callback in callbacks.items():
            try:
                yield connection.domainEventRegisterAny(None, event, callback, event)
            except libvirt.libvirtError:
                # Drivers and servers differ; a resync finds changes without an event.
                continue

    def _register_ports(self, connection: libvirt.virConnect) -> Iterable[int]:
        try:
            yield libvirt_qemu.qemuMonitorEventRegister(
                connection, None, "VSERPORT_CHANGE", self._on_port, None, 0
            )
        except libvirt.libvirtError:
            return  # no QEMU, or no right: the live XML has it at the next resync

    def _on_change(
        self, _connection: object, domain: libvirt.virDomain, *facts: object
    ) -> None:
        *values, event = facts
        self._device_events.increment()
        if not self._is_silent:
            what = CHANGES[cast("int", event)](*values)
            self._post(events.DomainChanged(_uuid_of(domain), what))

    def _on_reboot(
        self, _connection: object, domain: libvirt.virDomain, _event: object
    ) -> None:
        if not self._is_silent:
            self._post(events.DomainRebooted(_uuid_of(domain)))

    def _on_removal_failed(
        self,
        _connection: object,
        domain: libvirt.virDomain,
        alias: str,
        _event: object,
    ) -> None:
        self._device_events.increment()
        if not self._is_silent:
            self._post(events.RemovalFailed(_uuid_of(domain), alias))

    def _on_port(
        self,
        _connection: object,
        domain: libvirt.virDomain,
        _event: str,
        seconds: int,
        micros: int,
        details: str,
        _opaque: object,
    ) -> None:
        port = parse_port_change(details)
        if port is not None and not self._is_silent:
            alias, is_open = port
            at_ns = monotonic_of(seconds * 1_000_000_000 + micros * 1_000)
            uuid = _uuid_of(domain)
            self._post(events.GuestPortChanged(uuid, alias, is_open, at_ns))


def monotonic_of(wall_ns: int) -> int:
    """Convert the wall-clock time of a recent event to monotonic time.

    The result is never in the future, even if the wall clock was set back since.
    """
    now_ns = time.monotonic_ns()
    return now_ns - max(0, time.time_ns() - wall_ns)


def parse_port_change(details: str) -> tuple[str, bool] | None:
    """Read the alias and state of a VSERPORT_CHANGE; None: unexpected contents."""
    try:
        port = json.loads(details)
    except ValueError:
        return None
    if not isinstance(port, dict):
        return None
    alias, is_open = port.get("id"), port.get("open")
    if not isinstance(alias, str) or not isinstance(is_open, bool):
        return None
    return alias, is_open


def _uuid_of(domain: libvirt.virDomain) -> DomainId:
    # Does not call the daemon: the UUID is part of the object.
    return DomainId(domain.UUIDString())


def _call_quietly(function: Callable[..., object], *arguments: object) -> None:
    try:
        function(*arguments)
    except libvirt.libvirtError:
        return  # the connection is lost, and with it all registrations
