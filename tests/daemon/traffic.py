# SPDX-License-Identifier: Apache-2.0
"""Guests that send requests all the time, from threads."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orchestrator.channel.protocol import Request, Unit, encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from tests.daemon.libvirt_test_guests import GuestEnd

_UNITS = (Unit.SCALE_MIN, Unit.SCALE_MAX, Unit.SCALE_DOWN, Unit.SCALE_UP)
_PAUSE_S = 0.0005


class Traffic:
    """Sends requests over every channel, and follows each to its next connection.

    Channel N sends requests for vCPU N, in a thread that is named as QEMU names that of
    the vCPU. Synchronization: one thread, beside those of the guests.
    """

    def __init__(self, ends: Sequence[GuestEnd]) -> None:
        self._ends = ends
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._request, args=(number, end))
            for number, end in enumerate(ends)
        ]
        self.answers = [0] * len(ends)
        """The number of answers on each channel."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _request(self, vcpu: int, end: GuestEnd) -> None:
        packets = [encode(Request(vcpu, unit)) for unit in _UNITS]
        comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        comm.write_text(f"CPU {vcpu}/KVM", encoding="ascii")
        while not self._stop.is_set():
            with contextlib.suppress(OSError, EOFError):
                end.peer.settimeout(0.2)
                self._request_until_cut(vcpu, end, packets)
            if not self._stop.is_set():
                end.try_accept()

    def _request_until_cut(
        self, vcpu: int, end: GuestEnd, packets: list[bytes]
    ) -> None:
        turn = 0
        while not self._stop.is_set():
            end.peer.sendall(packets[turn % len(packets)])
            turn += 1
            with contextlib.suppress(TimeoutError):
                end.answer()
                self.answers[vcpu] += 1
            self._stop.wait(_PAUSE_S)
