# SPDX-License-Identifier: Apache-2.0
"""Opens a libvirt connection with a time limit.

Theory of operation: `virConnectOpen` has no timeout, keep-alive starts only after it,
and a thread inside it cannot be cancelled: a stopped libvirtd blocks it until libvirtd
continues. So a separate thread opens, one at a time, while the caller waits for a
limited time. A connection that is opened after the caller has given up is closed.
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

OPEN_TIMEOUT_S = 5.0
"""Opening takes milliseconds, on a busy host a few tenths of a second."""


class Opener:
    """Opens read-write connections to one libvirt.

    Synchronization: any thread may open; at most one thread is inside libvirt.
    """

    def __init__(self, uri: str, *, timeout_s: float = OPEN_TIMEOUT_S) -> None:
        self._uri = uri
        self._timeout_s = timeout_s
        self._opening = threading.Lock()
        """Held by the thread that opens, however long it takes."""
        self._opened: _Opened = Future()
        """The result of the latest open; cancelled: its caller has given up."""

    def open(self) -> libvirt.virConnect:
        """Open a connection, which the caller must close.

        Raises:
            HypervisorGone: libvirt did not answer in time.
            libvirt.libvirtError: libvirt refused.
        """
        # While an earlier open hangs, further ones fail at once.
        is_hung = self._opened.cancelled() and self._opening.locked()
        if is_hung or not self._opening.acquire(timeout=self._timeout_s):
            raise self._no_answer()
        opened = self._opened = Future()
        threading.Thread(
            target=self._work, args=(opened,), name="libvirt-open", daemon=True
        ).start()
        try:
            return opened.result(self._timeout_s)
        except TimeoutError:
            if opened.cancel():
                raise self._no_answer() from None
            return opened.result()  # it was opened at the last moment

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
        self._opening.release()

    def _no_answer(self) -> HypervisorGone:
        return HypervisorGone(f"libvirt does not answer: cannot open {self._uri}")
