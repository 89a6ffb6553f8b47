"""A connection to libvirt that comes back, and what is asked over it.

Theory of operation: the connecting thread opens, registers everything, says
`connected`, and sleeps until the connection's end (close callback: libvirtd ended, or
keep-alive: it hangs) or ours. Then it says `lost` and begins again, registrations too;
forgetting those is the classic mistake. Whoever asks while there is no connection gets
`HypervisorGone` at once.

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
from orchestrator.hypervisor.bounded_open import OPENS_WITHIN_S, Opener
from orchestrator.hypervisor.describe import KnownXml, describe_domain
from orchestrator.hypervisor.devices import attach_channels, detach_channels
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.events import Bell, EventRelay
from orchestrator.hypervisor.libvirt_errors import is_denied, translated
from orchestrator.hypervisor.uri import check_uri, is_in_process
from orchestrator.hypervisor.vcpu_times import VCpuTimes
from orchestrator.values.domain import DomainId, DomainSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

logger = logging.getLogger(__name__)

KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_COUNT = 3
"""A libvirtd that hangs is given up after (count + 1) intervals: 20 s. Shorter ones
would give up a libvirtd that is only busy (measured: long live jobs)."""
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_SILENCE_S = 3.0
"""How long opening may take until we say that we wait; there is no time-out in libvirt
for a daemon that accepts and does not speak."""

_CLOSE_REASONS: Mapping[int, str] = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "the connection failed",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirt ended",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirt does not answer",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "it was closed here",
}


@dataclass(slots=True)
class _Link:
    """One connection, from its opening to its end."""

    connection: libvirt.virConnect
    is_read_only: bool
    relay: EventRelay
    vcpu_times: VCpuTimes
    loss: str = ""
    """Why it ended; empty while it stands."""


class Hypervisor:
    """The daemon's libvirt.

    Synchronization: any thread may ask; each question may block for 30 s (and a hung
    libvirtd for 20 s), and is answered in the calling thread. The lock guards one
    pointer and is never held across a libvirt call.
    """

    def __init__(
        self,
        uri: str,
        *,
        post: Callable[[events.Event], None],
        access: Access = Access.AUTO,
        keepalive_interval_s: int = KEEPALIVE_INTERVAL_S,
        opens_within_s: float = OPENS_WITHIN_S,
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            uri: of a libvirt on this machine.
            post: takes events; called from libvirt's event thread and from the
                connecting thread: it queues, and does not raise.
            access: how much to ask for.
            keepalive_interval_s: a connection whose other end stays silent for
                (KEEPALIVE_COUNT + 1) times as long is given up.
            opens_within_s: how long a change waits for a connection of its own.

        Raises:
            ConfigError: the URI leads to another machine or nowhere.
        """
        self.uri = check_uri(uri)
        self._access = access
        self._keepalive_interval_s = keepalive_interval_s
        self._post = post
        self._opener = Opener(self.uri, patience_s=opens_within_s)
        self._known_xml = KnownXml()
        self._bell = Bell()
        self._guard = threading.Lock()
        self._link: _Link | None = None
        self._connects = 0
        self._said = ""
        self._is_closing = False
        self._happened = threading.Event()
        self._thread = threading.Thread(
            # A daemon thread: libvirt may hold it for ever, and nobody can cancel it.
            target=self._run,
            name="libvirt-connect",
            daemon=True,
        )

    @property
    def reconnects_total(self) -> int:
        """How often the connection was made anew after the first time."""
        return max(0, self._connects - 1)

    def start(self) -> None:
        """Begin to connect; events say how it goes."""
        ensure_event_loop()
        self._thread.start()

    def list_domains(self) -> tuple[DomainId, ...]:
        """List all domains, running or not.

        Raises:
            HypervisorGone: there is no connection.
            HypervisorError: libvirt refused.
        """
        link = self._standing_link()
        with translated():
            domains = link.connection.listAllDomains(0)
            uuids = tuple(DomainId(domain.UUIDString()) for domain in domains)
        self._known_xml.keep(uuids)
        link.vcpu_times.keep(uuids)
        return uuids

    def describe(self, uuid: DomainId) -> DomainSpec:
        """Read one domain as it is now.

        Raises:
            DomainGone: libvirt does not know it (any more).
            HypervisorGone: there is no connection.
            HypervisorError: libvirt refused.
            DomainXmlError: its XML cannot be understood.
        """
        with translated():
            return describe_domain(self._connection(), uuid, self._known_xml)

    def vcpu_times(self, uuid: DomainId) -> dict[int, int]:
        """Return for how many nanoseconds each vCPU of a domain has run.

        Raises:
            DomainGone: libvirt does not know it (any more).
            HypervisorGone: there is no connection.
            HypervisorError: it is not running, or libvirt refused.
        """
        with translated():
            return self._standing_link().vcpu_times.read(uuid)

    def vcpu_times_together(
        self, uuids: Collection[DomainId]
    ) -> dict[DomainId, dict[int, int]]:
        """Return the same for many domains, as far as one call does.

        It may hang while the QEMU of any of them does. Those that do not run, or that
        this libvirt tells only one by one, are left out.

        Raises:
            HypervisorGone: there is no connection.
            HypervisorError: libvirt refused.
        """
        with translated():
            return self._standing_link().vcpu_times.read_together(uuids)

    def attach_channels(
        self, uuid: DomainId, live: Iterable[int], config: Iterable[int]
    ) -> None:
        """Give a domain those of these channels that it lacks; all or nothing.

        Args:
            uuid: the domain.
            live: numbers for the running domain.
            config: numbers for its definition.

        Raises:
            DomainGone: libvirt does not know it (any more).
            HypervisorGone: there is no connection.
            HypervisorError: it is not running or has no definition, has no free
                ports, or libvirt refused; what was begun has been undone.
            DomainXmlError: its XML cannot be understood, or a number is absurd.
        """
        with translated(), self._open_for_change() as connection:
            attach_channels(
                connection, uuid, frozenset(live), frozenset(config), self._bell
            )

    def detach_channels(
        self, uuid: DomainId, live: Iterable[int], config: Iterable[int]
    ) -> None:
        """Take away those of these channels that `attach_channels` gave, ever.

        Args:
            uuid: the domain.
            live: numbers, of the running domain.
            config: numbers, of its definition.

        Raises:
            DomainGone: libvirt does not know it (any more).
            HypervisorGone: there is no connection.
            HypervisorError: libvirt refused, or the domain did not let go in time;
                ask again.
            DomainXmlError: its XML cannot be understood.
        """
        with translated(), self._open_for_change() as connection:
            detach_channels(
                connection, uuid, frozenset(live), frozenset(config), self._bell
            )

    def close(self, timeout_s: float) -> None:
        """End; no event is posted after this.

        A connection that cannot be closed in time, because libvirtd hangs, is left to
        the end of the process.
        """
        self._is_closing = True
        with self._guard:
            link = self._link
        if link is not None:
            link.relay.silence()
        self._happened.set()
        if self._thread.ident is None:
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive() and link is not None:
            _abandon(link.connection)

    def _connection(self) -> libvirt.virConnect:
        return self._standing_link().connection

    def _standing_link(self) -> _Link:
        with self._guard:
            link = self._link
        if link is None:
            raise HypervisorGone(f"not connected to {self.uri}")
        return link

    @contextmanager
    def _open_for_change(self) -> Iterator[libvirt.virConnect]:
        """Open a read-write connection for one change, and close it.

        One of its own, because libvirtd serves only five calls of a client at once and
        a hot-plug can hold one for 30 s; not kept, because a right that is used once a
        week should not lie open, and an idle connection would have to be watched.
        A driver inside our own process is another matter: it serves every call at
        once, and can be opened some fifteen times at most (measured, libvirt 9.0).
        """
        link = self._standing_link()
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
            # First cleared, then asked: `close` does it in the other order.
            self._happened.clear()
            if self._is_closing:
                return
            link = self._try_to_connect()
            if link is not None:
                delay_s = _FIRST_DELAY_S
                self._serve(link)
            else:
                self._happened.wait(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    def _serve(self, link: _Link) -> None:
        """Sleep until the connection's end, or ours."""
        self._said = ""
        self._connects += 1
        with self._guard:
            self._link = link
        if not self._is_closing:
            self._post(events.LibvirtConnected())
        while not (link.loss or self._is_closing):
            self._happened.wait()
            self._happened.clear()
        with self._guard:
            self._link = None
        link.relay.silence()
        if not self._is_closing:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._post(events.LibvirtLost(link.loss, now))
        _discard(link)

    def _try_to_connect(self) -> _Link | None:
        timer = threading.Timer(
            _SILENCE_S, self._say_waiting, [f"{self.uri} does not answer"]
        )
        timer.daemon = True
        timer.start()
        try:
            return self._connect()
        except libvirt.libvirtError as error:
            self._say_waiting(str(error))
            return None
        finally:
            timer.cancel()
            timer.join()  # so that it says nothing after `connected`

    def _connect(self) -> _Link:
        connection, is_read_only = self._open()
        relay = EventRelay(self._post, self._bell)
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
            self._happened.set()

        link.connection.registerCloseCallback(end, None)

    def _keep_alive(self, connection: libvirt.virConnect) -> None:
        with suppress(libvirt.libvirtError):  # drivers inside our process have none
            connection.setKeepAlive(self._keepalive_interval_s, KEEPALIVE_COUNT)

    def _say_waiting(self, reason: str) -> None:
        if reason != self._said and not self._is_closing:
            self._said = reason
            self._post(events.LibvirtAwaited(reason))


def _discard(link: _Link) -> None:
    """Close a connection and take back what holds it; may block while it hangs."""
    link.relay.deregister(link.connection)
    # A connection is closed when nothing of it is held any more.
    link.vcpu_times.keep(())
    with suppress(libvirt.libvirtError):
        link.connection.unregisterCloseCallback()
    with suppress(libvirt.libvirtError):
        link.connection.close()


def _abandon(connection: libvirt.virConnect) -> None:
    """Forget a connection without closing it.

    Python closes it otherwise when the object dies, at the latest when the process
    ends, and would wait there for a libvirtd that does not answer.
    """
    connection._o = None  # noqa: SLF001 - libvirt-python offers no other way
    logger.warning("libvirt connection abandoned, it does not close")
