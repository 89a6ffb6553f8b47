"""All that the show needs and must not leave behind.

One short directory under /tmp holds the embedded driver's root, the simulated CPUs and
the daemon's run directory; the daemon runs as a task of this process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from examples.demo.cleanup_watchdog import CleanupWatchdog
from examples.demo.guests import VCPUS, Guests
from examples.demo.recording import Scene
from examples.demo.tree import clocked_cpus, groups_of, photograph, usable_cpus
from examples.guests.cache import GuestError
from examples.guests.embed import EmbedRoot
from orchestrator.config import Config, LibvirtConfig, PowerConfig
from orchestrator.control import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient, DaemonUnreachable
from orchestrator.daemon import Daemon
from orchestrator.power.journal import JOURNAL_NAME
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from examples.demo.guests import GuestPlan
    from orchestrator.control.documents import EventRecord, Status
    from orchestrator.values.domain import PCpu

CONNECTED_WITHIN_S = 30.0
"""A libvirt that meets QEMU for the first time probes it for some 4 s."""
_LOOK_EVERY_S = 0.05
_REMEMBERED_LOG_LINES = 20


class Stage:
    """The CPUs, the libvirt root, the daemon and the guests.

    Synchronization: the asyncio thread; what blocks is done in threads, one at a time.
    """

    def __init__(self, *, is_on_host_cpus: bool) -> None:
        """Make the directory and choose the CPUs; nothing runs yet.

        Raises:
            GuestError: the machine's own CPUs are asked for and cannot be set.
        """
        self.root = EmbedRoot()
        self._undertaker = CleanupWatchdog(self.root.directory)
        try:
            self._tree, self.pins = self._choose_cpus(is_on_host_cpus=is_on_host_cpus)
        except BaseException:
            self._remove()
            raise
        self.guests = Guests(self.root)
        self.groups = groups_of(self._tree, self.pins)
        self._before = photograph(self._tree, self.groups)
        self._config = Config(
            run_dir=self.root.directory / "vmp",
            sysfs_root=self._tree.root,
            libvirt=LibvirtConfig(uri=self.root.uri),
            # Here all CPUs of a group that guests sit on may be slowed.
            power=PowerConfig(share_with_host=is_on_host_cpus),
        )
        self._daemon: Daemon | None = None
        self._running: asyncio.Task[None] | None = None
        self._client = ControlClient(self._config.run_dir / READ_ONLY_SOCKET)
        self.log = _Log()
        """The daemon's last words, for a failure."""

    def _choose_cpus(
        self, *, is_on_host_cpus: bool
    ) -> tuple[CpuTree, tuple[PCpu, ...]]:
        if is_on_host_cpus:
            tree = CpuTree.host()
            return tree, clocked_cpus(tree, VCPUS)
        pins = usable_cpus(VCPUS)
        directory = self.root.directory / "cpus"
        lay_out(directory, cpus=max(pins) + 1)
        return CpuTree(directory), pins

    def scene(self, guests: Sequence[str], seconds: int) -> Scene:
        """Describe what does not change."""
        return Scene(
            seconds=seconds,
            groups=self.groups,
            pins=self.pins,
            guests=tuple(guests),
            run_dir=str(self._config.run_dir),
        )

    async def start_daemon(self) -> None:
        """Start vmpowerd; return when it is connected to libvirt.

        Raises:
            VmpowerError: it could not start.
            GuestError: it does not connect.
        """
        logging.getLogger().addHandler(self.log)
        logging.getLogger().setLevel(logging.INFO)
        self._daemon = Daemon(self._config, reload=lambda: self._config)
        self._running = asyncio.create_task(self._daemon.run())
        deadline = time.monotonic() + CONNECTED_WITHIN_S
        while not await self._is_connected():
            if time.monotonic() > deadline:
                raise GuestError("vmpowerd does not get connected to libvirt")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _is_connected(self) -> bool:
        try:
            status = await self.look()
        except DaemonUnreachable:
            return False
        return status["libvirt"]["connected"]

    async def start_guest(self, plan: GuestPlan) -> None:
        """Boot a guest on the chosen CPUs.

        Raises:
            GuestError: libvirt refused.
        """
        await asyncio.to_thread(self.guests.start, plan, self.pins)

    async def look(self) -> Status:
        """Ask the daemon how things are, through its socket, as any client does.

        Raises:
            VmpowerError: the daemon has ended.
        """
        if self._running is not None and self._running.done():
            await self._running
        return await asyncio.to_thread(self._client.status)

    async def events(self) -> list[EventRecord]:
        """Ask the daemon what has happened so far.

        Raises:
            VmpowerError: the daemon has ended.
        """
        return await asyncio.to_thread(lambda: list(self._client.events()))

    async def stop_daemon(self) -> float:
        """Stop vmpowerd as SIGTERM does; return how many seconds that took."""
        began_s = time.monotonic()
        if self._daemon is not None and self._running is not None:
            self._daemon.stop()
            await self._running
        return time.monotonic() - began_s

    def changed_files(self) -> tuple[str, ...]:
        """Return the files of the CPU tree that are not as they were."""
        after = photograph(self._tree, self.groups)
        paths = self._before.keys() | after.keys()
        return tuple(
            sorted(p for p in paths if self._before.get(p) != after.get(p))
        ) + ((JOURNAL_NAME,) if (self._config.run_dir / JOURNAL_NAME).exists() else ())

    def clock_file(self, pcpu: PCpu) -> Path:
        """Return the file that says what clock a CPU has."""
        return self._tree.cpu_dir / f"cpu{pcpu}" / "cpufreq" / "scaling_cur_freq"

    @property
    def compared_files(self) -> int:
        """How many files `changed_files` compares."""
        return len(self._before)

    async def close(self) -> None:
        """End and remove everything, in whatever state it is."""
        try:
            await self.stop_daemon()
        finally:
            self._client.close()
            logging.getLogger().removeHandler(self.log)
            await asyncio.to_thread(self.guests.close)
            await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        self.root.close()
        self._undertaker.dismiss()


class _Log(logging.Handler):
    """Keeps the last lines that the daemon logs."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=_REMEMBERED_LOG_LINES)
        self.surprises: list[str] = []
        """Warnings and errors."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        line = f"{record.levelname} {record.getMessage()}"
        self._lines.append(line)
        if record.levelno >= logging.WARNING:
            self.surprises.append(line)

    def tail(self) -> str:
        """Return the last lines."""
        return "\n".join(self._lines)
