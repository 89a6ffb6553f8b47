"""Opening a connection without being held by a libvirtd that does not answer.

Theory of operation: `virConnectOpen` has no time-out, keep-alive begins only after it,
and a thread inside it cannot be cancelled: a libvirtd that is stopped holds whoever
opens until it goes on. So a thread of its own opens, one at a time, and whoever wanted
the connection stops waiting for it; one that comes after all is closed again.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

import libvirt

from orchestrator.errors import HypervisorGone

if TYPE_CHECKING:
    from typing import TypeAlias

    _Opened: TypeAlias = Future[libvirt.virConnect]

OPENS_WITHIN_S = 5.0
"""Opening takes milliseconds, on a busy host some tenths of a second."""


class Opener:
    """Opens read-write connections to one libvirt.

    Synchronization: any thread may open; at most one thread is inside libvirt.
    """

    def __init__(self, uri: str, *, patience_s: float = OPENS_WITHIN_S) -> None:
        self._uri = uri
        self._patience_s = patience_s
        self._turn = threading.Lock()
        """Held by the thread that opens, however long it takes."""
        self._opened: _Opened = Future()
        """What came of the last opening; cancelled: nobody waits for it any more."""

    def open(self) -> libvirt.virConnect:
        """Open a connection, which is the caller's to close.

        Raises:
            HypervisorGone: libvirt does not answer.
            libvirt.libvirtError: it refuses.
        """
        # Behind one that hangs nobody waits.
        is_hung = self._opened.cancelled() and self._turn.locked()
        if is_hung or not self._turn.acquire(timeout=self._patience_s):
            raise self._silence()
        opened = self._opened = Future()
        threading.Thread(
            target=self._work, args=(opened,), name="libvirt-open", daemon=True
        ).start()
        try:
            return opened.result(self._patience_s)
        except TimeoutError:
            if opened.cancel():
                raise self._silence() from None
            return opened.result()  # it came at the last moment

    def _work(self, opened: _Opened) -> None:
        try:
            connection = libvirt.open(self._uri)
        except libvirt.libvirtError as error:
            if opened.set_running_or_notify_cancel():
                opened.set_exception(error)
        else:
            if opened.set_running_or_notify_cancel():
                opened.set_result(connection)
            else:
                with suppress(libvirt.libvirtError):
                    connection.close()
        self._turn.release()

    def _silence(self) -> HypervisorGone:
        return HypervisorGone(f"libvirt does not answer: {self._uri} cannot be opened")
