# SPDX-License-Identifier: Apache-2.0
"""A vmpowerd process for one test.

Usage::

    with DaemonProcess(uri, tmp_path, tree) as daemon:
        daemon.wait_for(lambda s: s["domains"][0]["channels"][0]["state"] == "open")
        daemon.kill()
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from orchestrator.control.client import ControlClient, DaemonUnreachable
from orchestrator.errors import ControlError
from tests.rig.waiting import DEADLINE_S, GUEST_DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from orchestrator.control.documents import Channel, Domain, Status

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parents[2]
CONFIG = """\
[libvirt]
access = "{access}"
resync_s = {resync_s}
[power]
release_after_s = {release_after_s}
"""


class DaemonProcess:
    """Starts, queries, stops and kills one daemon.

    Synchronization: one thread.
    """

    def __init__(
        self,
        uri: str,
        sysfs_root: Path,
        *,
        config: str = "",
        power: str = "",
        access: str = "auto",
        resync_s: float = 30.0,
        release_after_s: float = 30.0,
    ) -> None:
        self.uri = uri
        self.sysfs_root = sysfs_root
        # Short: a socket's path has 107 bytes, and pytest's directories are long.
        self.run_dir = Path(tempfile.mkdtemp(prefix="vmp-", dir="/tmp"))
        self.config = self.run_dir / "config" / "vmpower.toml"
        self.config.parent.mkdir()
        text = CONFIG.format(
            access=access, resync_s=resync_s, release_after_s=release_after_s
        )
        self.config.write_text(config + text + power, encoding="utf-8")
        self.log = self.run_dir / "log"
        self.wrapper: tuple[str, ...] = ()
        """A command that runs the daemon's command, such as `prlimit`."""
        self.module = "orchestrator"
        """What is run as the daemon."""
        self._process: subprocess.Popen[bytes] | None = None
        self._monitors: set[int] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is not None:
            sys.stderr.write(self.log.read_text(encoding="utf-8", errors="replace"))
        shutil.rmtree(self.run_dir, ignore_errors=True)

    @property
    def socket(self) -> Path:
        return self.run_dir / "vmpower.sock"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def monitor_pid(self) -> int:
        """The monitor, once it runs."""
        pid = self.wait_for(lambda status: status["daemon"]["monitor_pid"])
        assert isinstance(pid, int)
        self._monitors.add(pid)
        return pid

    def launch(self, *more: str) -> None:
        """Start the process without waiting for it."""
        command = [
            *(*self.wrapper, sys.executable, "-m", self.module, "-c", self.uri),
            *("--sysfs-root", str(self.sysfs_root), "--run-dir", str(self.run_dir)),
            *("--config", str(self.config), *more),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=CHECKOUT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def start(self, *more: str) -> None:
        """Start the process and wait until it serves.

        Raises:
            TimeoutError: it does not, or has exited.
        """
        self.launch(*more)
        wait_for(self._answers, "vmpowerd answers")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            text = self.log.read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"vmpowerd ended:\n{text}")
        try:
            return self.status()["daemon"]["monitor_pid"] is not None
        except DaemonUnreachable:
            return False

    def status(self) -> Status:
        with ControlClient(self.socket, timeout_s=DEADLINE_S) as client:
            return client.status()

    def domain(self, name: str) -> Domain:
        """Return a domain, as soon as the daemon knows it."""

        def find() -> Domain | None:
            try:
                return client.domain(name)
            except ControlError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                return None

        with ControlClient(self.socket, timeout_s=DEADLINE_S) as client:
            return wait_for(find, f"the domain {name}")

    def wait_for(self, query: Callable[[Status], T]) -> T:
        """Wait until a query of the status returns something; a guest may have to boot.

        Raises:
            TimeoutError: it does not.
        """

        def find() -> T | None:
            return query(self.status()) or None

        return wait_for(find, "the daemon's status", timeout_s=GUEST_DEADLINE_S)

    def wait_for_channel(self, domain: str, number: int, state: str) -> Channel:
        """Wait until a channel is in a state."""
        try:
            found = self.wait_for(lambda s: find_channel(s, domain, number, state))
        except TimeoutError as error:
            shown = [d for d in self.status()["domains"] if d["name"] == domain]
            raise AssertionError(f"not {state}: {shown}") from error
        assert found is not None
        return found

    def wait_for_answers(self, domain: str, number: int, count: int) -> Channel:
        """Wait until the answers are counted: they are sent before that."""

        def find(status: Status) -> Channel | None:
            channel = find_channel(status, domain, number)
            total = channel and channel["acks_total"] + channel["nacks_total"]
            return channel if total == count else None

        found = self.wait_for(find)
        assert found is not None
        return found

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait_until_ended(self, *, timeout_s: float = DEADLINE_S) -> int:
        """Wait for the process; return its exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL the main process and wait for it."""
        self.signal(signal.SIGKILL)
        self.wait_until_ended()

    def stop(self) -> int:
        """SIGTERM the process if it runs; return the exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def wait_for_log(self, text: str) -> None:
        """Wait until the log, which a thread of the daemon writes, contains a text."""
        wait_for(lambda: text in self.log_text(), f"{text!r} in the log")

    def log_text(self) -> str:
        """Return the log."""
        return self.log.read_text(encoding="utf-8")


def find_channel(
    status: Status, domain: str, number: int, state: str | None = None
) -> Channel | None:
    """Return a channel of a status document; None: not there or not in that state."""
    for each in status["domains"]:
        if each["name"] == domain:
            for channel in each["channels"]:
                if channel["number"] == number and state in (None, channel["state"]):
                    return channel
    return None
