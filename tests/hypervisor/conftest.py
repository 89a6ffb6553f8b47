"""libvirt three ways: its test driver, a private libvirtd, and embedded QEMU."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt
import pytest

from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.hypervisor.eventloop import ensure_event_loop

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

DEADLINE_S = 30.0
NOBODY = 65534


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

    def port_changed(self, uuid: str, alias: str, *, is_open: bool) -> None:
        self._remember("port", uuid, alias, is_open)

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


class Libvirtd:
    """A libvirtd of our own, and its guests: as nobody, in a short directory."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vmp", dir="/tmp"))
        self.directory.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = (
            f"qemu+unix:///session?socket={self.directory}/r/libvirt/libvirt-sock"
        )

    def start(self) -> None:
        directories = {
            "HOME": "h",
            "XDG_RUNTIME_DIR": "r",
            "XDG_CONFIG_HOME": "c",
            "XDG_CACHE_HOME": "x",
        }
        environment = {"PATH": os.environ["PATH"]}
        for variable, name in directories.items():
            path = self.directory / name
            path.mkdir(mode=0o700, exist_ok=True)
            os.chown(path, NOBODY, NOBODY)
            environment[variable] = str(path)
        self._process = subprocess.Popen(
            ["libvirtd"],
            env=environment,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            stderr=subprocess.DEVNULL,
        )

    def wait(self, recorder: Recorder) -> None:
        """Wait until it answers."""
        hypervisor = Hypervisor(self.uri, listener=recorder)
        hypervisor.start()
        recorder.wait_for("connected")
        hypervisor.close(5)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory)


def _make_libvirtd() -> Libvirtd:
    if shutil.which("libvirtd") is None or shutil.which("qemu-system-x86_64") is None:
        pytest.skip("libvirtd or QEMU is not installed")
    if os.geteuid() != 0:
        pytest.skip("starts libvirtd as another user")
    return Libvirtd()


@pytest.fixture
def libvirtd() -> Iterator[Libvirtd]:
    """Not started yet, to be killed and stopped at will."""
    daemon = _make_libvirtd()
    yield daemon
    daemon.remove()


@pytest.fixture(scope="session")
def guest_libvirtd() -> Iterator[Libvirtd]:
    """Running all the time: the first guest costs seconds, because QEMU is probed."""
    daemon = _make_libvirtd()
    daemon.start()
    yield daemon
    daemon.remove()


@pytest.fixture
def open_connection() -> Iterator[Callable[[str], libvirt.virConnect]]:
    """Open connections as anybody else would, closed after the test."""
    opened: list[libvirt.virConnect] = []

    def open_one(uri: str) -> libvirt.virConnect:
        ensure_event_loop()
        opened.append(libvirt.open(uri))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()
