"""A listener that records, connections of other tools, a guest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import libvirt
import pytest

from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.hypervisor.eventloop import ensure_event_loop
from tests.hypervisor.bios_guest import Guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rig.libvirtd import SessionHost

DEADLINE_S = 30.0


class Recorder:
    """A HypervisorListener that remembers, and lets a test wait for a memory."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.heard: list[tuple[Any, ...]] = []

    def _remember(self, *what: object) -> None:
        with self._news:
            self.heard.append(what)
            self._news.notify_all()

    def connected(self) -> None:
        self._remember("connected")

    def lost(self, reason: str) -> None:
        self._remember("lost", reason)

    def waiting(self, reason: str) -> None:
        self._remember("waiting", reason)

    def domain_changed(self, uuid: str, what: str) -> None:
        self._remember("changed", uuid, what)

    def domain_rebooted(self, uuid: str) -> None:
        self._remember("rebooted", uuid)

    def port_changed(self, uuid: str, alias: str, *, is_open: bool, at_ns: int) -> None:
        self._remember("port", uuid, alias, "open" if is_open else "closed", at_ns)

    def removal_failed(self, uuid: str, alias: str) -> None:
        self._remember("removal failed", uuid, alias)

    def wait_for(self, *what: object, times: int = 1) -> None:
        """Wait until something that begins with `what` was heard so often."""

        def is_heard() -> bool:
            return sum(item[: len(what)] == what for item in self.heard) >= times

        with self._news:
            if not self._news.wait_for(is_heard, DEADLINE_S):
                raise AssertionError(f"{what} not heard in {self.heard}")

    def said(self, kind: str) -> list[tuple[Any, ...]]:
        with self._news:
            return [item for item in self.heard if item[0] == kind]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def open_connection() -> Iterator[Callable[[str], libvirt.virConnect]]:
    """Open connections like another tool; they are closed after the test."""
    opened: list[libvirt.virConnect] = []

    def open_one(uri: str) -> libvirt.virConnect:
        ensure_event_loop()
        opened.append(libvirt.open(uri))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def hypervisor(session_host: SessionHost, recorder: Recorder) -> Iterator[Hypervisor]:
    hypervisor = Hypervisor(session_host.uri, listener=recorder)
    hypervisor.start()
    recorder.wait_for("connected")
    yield hypervisor
    hypervisor.close(5)


@pytest.fixture
def guest(
    session_host: SessionHost,
    open_connection: Callable[[str], libvirt.virConnect],
) -> Iterator[Guest]:
    guest = Guest(open_connection(session_host.uri))
    yield guest
    guest.end()
