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
    """A libvirtd of our own: as nobody, in a short directory, without guests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = directory / "run" / "libvirt" / "libvirt-sock"
        self.uri = f"qemu+unix:///session?socket={self._socket}"

    def start(self) -> None:
        for name in ("run", "home", "config", "cache"):
            (self._directory / name).mkdir(mode=0o700, exist_ok=True)
            os.chown(self._directory / name, NOBODY, NOBODY)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._directory / "home"),
            "XDG_RUNTIME_DIR": str(self._directory / "run"),
            "XDG_CONFIG_HOME": str(self._directory / "config"),
            "XDG_CACHE_HOME": str(self._directory / "cache"),
        }
        self._process = subprocess.Popen(
            ["libvirtd"],
            env=environment,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            stderr=subprocess.DEVNULL,
        )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory whose sockets' paths fit into 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="vmp", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def libvirtd(short_directory: Path) -> Iterator[Libvirtd]:
    """Not started yet."""
    if shutil.which("libvirtd") is None:
        pytest.skip("libvirtd is not installed")
    daemon = Libvirtd(short_directory)
    yield daemon
    daemon.kill()


@pytest.fixture(scope="session")
def embedded_uri() -> Iterator[str]:
    """QEMU's driver inside this process; probed once for all tests."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("QEMU is not installed")
    root = Path(tempfile.mkdtemp(prefix="vme", dir="/tmp"))
    root.chmod(0o755)
    (root / "etc").mkdir()
    (root / "etc" / "qemu.conf").write_text(
        'stdio_handler = "file"\nsecurity_driver = "none"\n'
    )
    yield f"qemu:///embed?root={root}"
    shutil.rmtree(root)


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
