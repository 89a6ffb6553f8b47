# SPDX-License-Identifier: Apache-2.0
"""A recorder of events, connections of other tools, a guest, and definitions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import libvirt
import pytest

from orchestrator import events
from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.hypervisor.eventloop import ensure_event_loop
from tests.hypervisor.bios_guest import Guest
from tests.hypervisor.driver_domains import NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rig.embed import EmbedHost
    from tests.rig.libvirtd import SessionHost

DEADLINE_S = 30.0


class Recorder:
    """Takes events, and lets a test wait for one."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.recorded: list[tuple[Any, ...]] = []

    def _record(self, *what: object) -> None:
        with self._news:
            self.recorded.append(what)
            self._news.notify_all()

    def post(self, event: events.Event) -> None:
        match event:
            case events.LibvirtConnected():
                self._record("connected")
            case events.LibvirtLost(reason, _):
                self._record("lost", reason)
            case events.LibvirtAwaited(reason):
                self._record("waiting", reason)
            case events.DomainChanged(uuid, what):
                self._record("changed", uuid, what)
            case events.DomainRebooted(uuid):
                self._record("rebooted", uuid)
            case events.GuestPortChanged(uuid, alias, is_open, at_ns):
                state = "open" if is_open else "closed"
                self._record("port", uuid, alias, state, at_ns)
            case events.RemovalFailed(uuid, alias):
                self._record("removal failed", uuid, alias)
            case _:
                raise AssertionError(event)

    def wait_for(self, *what: object, times: int = 1) -> None:
        """Wait until something that begins with `what` was recorded so often."""

        def is_recorded() -> bool:
            return sum(item[: len(what)] == what for item in self.recorded) >= times

        with self._news:
            if not self._news.wait_for(is_recorded, DEADLINE_S):
                raise AssertionError(f"{what} not among {self.recorded}")

    def recorded_of(self, kind: str) -> list[tuple[Any, ...]]:
        with self._news:
            return [item for item in self.recorded if item[0] == kind]


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
    hypervisor = Hypervisor(session_host.uri, post=recorder.post)
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


@pytest.fixture
def define_xml(embed_host: EmbedHost) -> Iterator[Callable[[str], libvirt.virDomain]]:
    """Define domains in the embedded libvirt; nothing of them is left afterwards."""
    made: list[libvirt.virDomain] = []

    def define(xml: str) -> libvirt.virDomain:
        made.append(embed_host.connection.defineXML(xml))
        return made[-1]

    yield define
    for domain in made:
        if domain.isActive():
            domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


@pytest.fixture
def driver_hypervisor(tmp_path: Path, recorder: Recorder) -> Iterator[Hypervisor]:
    """A connection to the test driver with the domains of `driver_domains`."""
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    hypervisor = Hypervisor(f"test://{node}", post=recorder.post)
    hypervisor.start()
    recorder.wait_for("connected")
    yield hypervisor
    hypervisor.close(5)
