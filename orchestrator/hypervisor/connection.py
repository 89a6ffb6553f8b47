# SPDX-License-Identifier: Apache-2.0
"""A connection to libvirt that is reestablished when lost, and the calls over it.

Theory of operation: the connecting thread opens the connection, registers for events,
reports `connected`, and sleeps until the connection ends (close callback: libvirtd
ended, or keep-alive: it hangs) or is closed here. Then it reports `lost` and starts
over, including the registrations, which are easily forgotten. Calls without a
connection raise `HypervisorGone` at once.

Source: virConnectSetKeepAlive and virConnectRegisterCloseCallback of libvirt-host.h.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import libvirt

from orchestrator import events
from orchestrator.config import Access
from orchestrator.errors import HypervisorGone
from orchestrator.hypervisor.bounded_open import OPEN_TIMEOUT_S, Opener
from orchestrator.hypervisor.devices import (
    add_ports,
    attach_channels,
    detach_channels,
)
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.events import DeviceEventCounter, EventRelay
from orchestrator.hypervisor.libvirt_errors import is_denied, translated
from orchestrator.hypervisor.metadata import write_guest_policies
from orchestrator.hypervisor.p_states import PStateChange, onboard_p_states
from orchestrator.hypervisor.spec_reader import ParsedXmlCache, read_domain_spec
from orchestrator.hypervisor.uri import check_uri, is_in_process
from orchestrator.hypervisor.vcpu_times import VCpuTimes
from orchestrator.values.domain import DomainId, DomainSpec, GuestPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from orchestrator.config import Config

logger = logging.getLogger(__name__)

KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_COUNT = 3
"""A libvirtd that hangs is given up after (count + 1) intervals: 20 s. With a shorter
time a libvirtd that is merely busy would be given up (measured: long live jobs)."""
_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 5.0
_REPORT_WAITING_AFTER_S = 3.0
"""Time after which an open that does not return is reported; libvirt has no timeout for
a daemon that accepts a connection and does not answer."""

_CLOSE_REASONS: Mapping[int, str] = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "the connection failed",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirt ended",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirt does not answer",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by vmpowerd",
}


@dataclass(slots=True)
class _Link:
    """One connection, from its opening to its end."""

    connection: libvirt.virConnect
    is_read_only: bool
    relay: EventRelay
    vcpu_times: VCpuTimes
    loss: str = ""
    """Why it ended; empty while it is open."""
    users: int = 0
    """Calls that are using it."""


class Hypervisor:
    """The daemon's access to libvirt.

    Synchronization: any thread may call. A call runs in the calling thread and may
    block for 30 s (20 s if libvirtd hangs). The lock guards the current connection and
    the count of calls that use one, and is never held across a libvirt call. libvirt
    frees a connection when it is closed, also below a call of another thread, so the
    connecting thread closes it when the last call has returned.
    """

    def __init__(
        self,
        uri: str,
        *,
        post: Callable[[events.Event], None],
        access: Access = Access.AUTO,
        keepalive_interval_s: int = KEEPALIVE_INTERVAL_S,
        open_timeout_s: float = OPEN_TIMEOUT_S,
    ) -> None:
        """Check the URI; nothing is opened before `start`.

        Args:
            uri: of a libvirt on this machine.
            post: takes events; called from libvirt's event thread and from the
                connecting thread, so it queues, and does not raise.
            access: the access rights to request.
            keepalive_interval_s: a connection whose other end does not answer for
                (KEEPALIVE_COUNT + 1) times as long is given up.
            open_timeout_s: how long a change waits for its separate connection.

        Raises:
            ConfigError: an invalid or a remote URI.
        """
        self.uri = check_uri(uri)
        self._access = access
        self._keepalive_interval_s = keepalive_interval_s
        self._post = post
        self._opener = Opener(self.uri, timeout_s=open_timeout_s)
        self._xml_cache = ParsedXmlCache()
        self._device_events = DeviceEventCounter()
        self._guard = threading.Condition()
        """Notified when no call uses a connection any more."""
        self._link: _Link | None = None
        self._connects = 0
        self._reported_reason = ""
        self._is_closing = False
        self._wake_up = threading.Event()
        self._thread = threading.Thread(
            # A daemon thread: libvirt may block it forever, and it cannot be cancelled.
            target=self._run,
            name="libvirt-connect",
            daemon=True,
        )

    @property
    def reconnects_total(self) -> int:
        """How often the connection was reestablished."""
        return max(0, self._connects - 1)

    def start(self) -> None:
        """Start connecting; events report the outcome."""
        ensure_event_loop()
        self._thread.start()

    def list_domains(self) -> tuple[DomainId, ...]:
        """List all domains, running or not.

        Raises:
            HypervisorGone: not connected.
            HypervisorError: libvirt refused.
        """
        with self._using_link() as link, translated():
            domains = link.connection.listAllDomains(0)
            uuids = tuple(DomainId(domain.UUIDString()) for domain in domains)
            self._xml_cache.keep(uuids)
            link.vcpu_times.keep(uuids)
        return uuids

    def describe(self, uuid: DomainId) -> DomainSpec:
        """Read one domain as it is now.

        Raises:
            DomainGone: no such domain (any more).
            HypervisorGone: not connected.
            HypervisorError: libvirt refused.
            DomainXmlError: invalid XML.
        """
        with self._using_link() as link, translated():
            return read_domain_spec(link.connection, uuid, self._xml_cache)

    def vcpu_times(self, uuid: DomainId) -> dict[int, int]:
        """Return the run time of each vCPU of a domain, in nanoseconds.

        Raises:
            DomainGone: no such domain (any more).
            HypervisorGone: not connected.
            HypervisorError: it is not running, or libvirt refused.
        """
        with self._using_link() as link, translated():
            return link.vcpu_times.read(uuid)

    def vcpu_times_together(
        self, uuids: Collection[DomainId]
    ) -> dict[DomainId, dict[int, int]]:
        """Return the run times of many domains, as far as one call can read them.

        It may hang while the QEMU of any of them hangs. Domains that are off, or that
        this libvirt can only read one by one, are left out.

        Raises:
            HypervisorGone: not connected.
            HypervisorError: libvirt refused.
        """
        with self._using_link() as link, translated():
            return link.vcpu_times.read_together(uuids)

    def attach_channels(
        self, uuid: DomainId, live: Iterable[int], config: Iterable[int]
    ) -> None:
        """Attach those of these channels that a domain lacks: all of them or none.

        Args:
            uuid: the domain.
            live: numbers for the running domain.
            config: numbers for its definition.

        Raises:
            DomainGone: no such domain (any more).
            HypervisorGone: not connected.
            HypervisorError: it is not running or has no definition, has not enough
                free ports, or libvirt refused; everything is undone.
            DomainXmlError: invalid XML, or an invalid channel number.
        """
        with translated(), self._open_for_change() as connection:
            attach_channels(
                connection,
                uuid,
                frozenset(live),
                frozenset(config),
                self._device_events,
            )

    def add_ports(self, uuid: DomainId, numbers: Iterable[int]) -> str:
        """Plug controllers into a running domain, so that these channels fit.

        Returns:
            Why it cannot take another controller, for people; empty: the channels fit.

        Raises:
            DomainGone: no such domain (any more).
            HypervisorGone: not connected.
            HypervisorError: it is not running, or libvirt is busy with it; try again.
            DomainXmlError: invalid XML, or an invalid channel number.
        """
        with translated(), self._open_for_change() as connection:
            return add_ports(connection, uuid, frozenset(numbers))

    def make_p_states(self, uuid: DomainId, config: Config) -> PStateChange:
        """Give a domain's definition the P-states that it should have.

        Raises:
            DomainGone: no such domain (any more).
            HypervisorGone: not connected.
            HypervisorError: libvirt refused, or the table cannot be written.
            DomainXmlError: the domain cannot have P-states.
            SysfsError: not a CPU tree.
        """
        with translated(), self._open_for_change() as connection:
            return onboard_p_states(connection.lookupByUUIDString(uuid), config)

    def detach_channels(
        self, uuid: DomainId, live: Iterable[int], config: Iterable[int]
    ) -> None:
        """Detach those of these channels that `attach_channels` ever attached.

        Args:
            uuid: the domain.
            live: numbers in the running domain.
            config: numbers in its definition.

        Raises:
            DomainGone: no such domain (any more).
            HypervisorGone: not connected.
            HypervisorError: libvirt refused, or the domain did not release the
                channels in time; try again.
            DomainXmlError: invalid XML.
        """
        with translated(), self._open_for_change() as connection:
            detach_channels(
                connection,
                uuid,
                frozenset(live),
                frozenset(config),
                self._device_events,
            )

    def note_guest_policies(
        self, uuid: DomainId, policies: Iterable[GuestPolicy]
    ) -> None:
        """Note the policies of a guest in its domain, if this connection permits it.

        Raises:
            DomainGone: no such domain (any more).
            HypervisorGone: not connected.
            HypervisorError: it is not running, or libvirt refused.
        """
        with self._using_link() as link, translated():
            if not link.is_read_only:
                domain = link.connection.lookupByUUIDString(uuid)
                write_guest_policies(domain, policies)

    def close(self, timeout_s: float) -> None:
        """Disconnect; no event is posted any more.

        A connection that cannot be closed in time, because libvirtd hangs, is left open
        until the process ends.
        """
        self._is_closing = True
        with self._guard:
            link = self._link
        if link is not None:
            link.relay.silence()
        self._wake_up.set()
        if self._thread.ident is None:
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive() and link is not None:
            _abandon(link.connection)

    @contextmanager
    def _using_link(self) -> Iterator[_Link]:
        """Use the connection, which is not closed before the end of the block.

        Raises:
            HypervisorGone: not connected.
        """
        with self._guard:
            link = self._link
            if link is None:
                raise HypervisorGone(f"not connected to {self.uri}")
            link.users += 1
        try:
            yield link
        finally:
            with self._guard:
                link.users -= 1
                self._guard.notify_all()

    @contextmanager
    def _open_for_change(self) -> Iterator[libvirt.virConnect]:
        """Open a read-write connection for one change, and close it.

        A separate one, because libvirtd serves only five calls of a client at once and
        a hot-plug can occupy one for 30 s. It is not kept open, because write access
        that is needed once a week should not be held all the time, and an idle
        connection would have to be monitored. A driver inside this process is used
        directly: it serves all calls at once, and can be opened only some fifteen times
        (measured with libvirt 9.0).
        """
        with self._using_link() as link:
            if is_in_process(self.uri) and not link.is_read_only:
                yield link.connection
                return
        connection = self._opener.open()
        try:
            self._keep_alive(connection)
            yield connection
        finally:
            with suppress(libvirt.libvirtError):
                connection.close()

    def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while True:
            # Cleared before the check: `close` sets the flag before the event.
            self._wake_up.clear()
            if self._is_closing:
                return
            link = self._try_to_connect()
            if link is not None:
                delay_s = _FIRST_DELAY_S
                self._serve(link)
            else:
                self._wake_up.wait(delay_s)
                delay_s = min(2 * delay_s, _MAX_DELAY_S)

    def _serve(self, link: _Link) -> None:
        """Sleep until the connection ends or `close` is called."""
        self._reported_reason = ""
        self._connects += 1
        with self._guard:
            self._link = link
        if not self._is_closing:
            self._post(events.LibvirtConnected())
        while not (link.loss or self._is_closing):
            self._wake_up.wait()
            self._wake_up.clear()
        with self._guard:
            self._link = None
        link.relay.silence()
        if not self._is_closing:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._post(events.LibvirtLost(link.loss, now))
        with self._guard:
            # Calls over a lost connection return at once.
            self._guard.wait_for(lambda: not link.users)
        _discard(link)

    def _try_to_connect(self) -> _Link | None:
        timer = threading.Timer(
            _REPORT_WAITING_AFTER_S,
            self._report_waiting,
            [f"{self.uri} does not answer"],
        )
        timer.daemon = True
        timer.start()
        try:
            return self._connect()
        except libvirt.libvirtError as error:
            self._report_waiting(str(error))
            return None
        finally:
            timer.cancel()
            timer.join()  # so that it reports nothing after `connected`

    def _connect(self) -> _Link:
        connection, is_read_only = self._open()
        relay = EventRelay(self._post, self._device_events)
        link = _Link(connection, is_read_only, relay, VCpuTimes(connection))
        try:
            self._watch(link)
            self._keep_alive(connection)
            relay.register(connection, is_read_only=is_read_only)
        except libvirt.libvirtError:
            _discard(link)
            raise
        return link

    def _open(self) -> tuple[libvirt.virConnect, bool]:
        if self._access is Access.AUTO:
            try:
                return libvirt.open(self.uri), False
            except libvirt.libvirtError as error:
                if not is_denied(error):
                    raise
        return libvirt.openReadOnly(self.uri), True

    def _watch(self, link: _Link) -> None:
        def end(_connection: object, reason: int, _opaque: object) -> None:
            link.loss = _CLOSE_REASONS.get(reason, "the connection ended")
            self._wake_up.set()

        link.connection.registerCloseCallback(end, None)

    def _keep_alive(self, connection: libvirt.virConnect) -> None:
        with suppress(libvirt.libvirtError):  # drivers inside this process have none
            connection.setKeepAlive(self._keepalive_interval_s, KEEPALIVE_COUNT)

    def _report_waiting(self, reason: str) -> None:
        if reason != self._reported_reason and not self._is_closing:
            self._reported_reason = reason
            self._post(events.LibvirtAwaited(reason))


def _discard(link: _Link) -> None:
    """Close a connection and release everything that refers to it; may block."""
    link.relay.deregister(link.connection)
    # libvirt closes a connection only when no reference to it is left.
    link.vcpu_times.keep(())
    with suppress(libvirt.libvirtError):
        link.connection.unregisterCloseCallback()
    with suppress(libvirt.libvirtError):
        link.connection.close()


def _abandon(connection: libvirt.virConnect) -> None:
    """Drop a connection without closing it.

    Otherwise Python closes it when the object is deleted, at the latest at exit, and
    waits there for a libvirtd that does not answer.
    """
    connection._o = None  # noqa: SLF001 - libvirt-python offers no other way
    logger.warning("libvirt connection abandoned: closing it timed out")
