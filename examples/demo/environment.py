# SPDX-License-Identifier: Apache-2.0
"""Everything that the demo creates and must remove.

One directory under /tmp, with a short name, contains the root of the embedded driver,
the simulated CPUs and the daemon's run directory. The daemon is a task of this process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from examples.demo.cleanup_watchdog import CleanupWatchdog
from examples.demo.guests import VCPUS, Guests
from examples.demo.recording import Setup
from examples.demo.tree import controllable_cpus, groups_of, read_files, simulate_cpus
from examples.guests.cache import GuestError
from examples.guests.embed import EmbedRoot
from orchestrator.config import Config, LibvirtConfig, PowerConfig, PStatesConfig
from orchestrator.control import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient, DaemonUnreachable
from orchestrator.daemon import Daemon
from orchestrator.power.journal import JOURNAL_NAME
from orchestrator.power.sysfs import CpuTree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from examples.demo.guests import GuestPlan
    from orchestrator.control.documents import EventRecord, Status
    from orchestrator.values.domain import PCpu

CONNECTED_WITHIN_S = 120.0
"""At its first start libvirt probes QEMU, which takes about 4 s."""
_POLL_S = 0.05
_MAX_LOG_LINES = 20


class DemoEnvironment:
    """The CPUs, the root of libvirt, the daemon and the guests.

    Synchronization: the asyncio thread; blocking calls run in threads, one at a time.
    """

    def __init__(self, *, simulated_driver: str | None) -> None:
        """Create the directory and choose the CPUs; start nothing.

        Args:
            simulated_driver: scaling driver of simulated CPUs; None: the CPUs of this
                host.

        Raises:
            GuestError: frequencies of the CPUs cannot be set.
        """
        self.root = EmbedRoot()
        self._watchdog = CleanupWatchdog(self.root.directory)
        try:
            self._tree, self.pins = self._choose_cpus(simulated_driver)
            self.groups = groups_of(self._tree, self.pins)
        except BaseException:
            self._remove()
            raise
        self._before = read_files(self._tree, self.groups)
        self._config = Config(
            run_dir=self.root.directory / "vmp",
            sysfs_root=self._tree.root,
            libvirt=LibvirtConfig(uri=self.root.uri),
            # The host's clock groups may have CPUs that no guest is pinned to.
            power=PowerConfig(share_with_host=simulated_driver is None),
            p_states=PStatesConfig(directory=self.root.directory / "acpi"),
        )
        self.guests = Guests(self.root, self._config)
        self._daemon: Daemon | None = None
        self._running: asyncio.Task[None] | None = None
        self._client = ControlClient(self._config.run_dir / READ_ONLY_SOCKET)
        self.log = _Log()
        """The end of the daemon's log, for error messages."""

    def _choose_cpus(
        self, simulated_driver: str | None
    ) -> tuple[CpuTree, tuple[PCpu, ...]]:
        if simulated_driver is None:
            tree = CpuTree.host()
            return tree, controllable_cpus(tree, VCPUS)
        directory = self.root.directory / "cpus"
        return simulate_cpus(directory, simulated_driver, VCPUS)

    def setup(self, plans: Sequence[GuestPlan], seconds: int) -> Setup:
        """Describe what does not change during the demo."""
        return Setup(
            seconds=seconds,
            groups=self.groups,
            pins=self.pins,
            guests=tuple(plan.name for plan in plans),
            has_p_states=all(plan.has_p_states for plan in plans),
            run_dir=str(self._config.run_dir),
        )

    async def start_daemon(self) -> None:
        """Start vmpowerd, and wait until it is connected to libvirt.

        Raises:
            VmpowerError: it could not start.
            GuestError: it did not connect in time.
        """
        logging.getLogger().addHandler(self.log)
        logging.getLogger().setLevel(logging.INFO)
        self._daemon = Daemon(self._config, reload=lambda: self._config)
        self._running = asyncio.create_task(self._daemon.run())
        deadline = time.monotonic() + CONNECTED_WITHIN_S
        while not await self._is_connected():
            if time.monotonic() > deadline:
                raise GuestError("vmpowerd did not connect to libvirt")
            await asyncio.sleep(_POLL_S)

    async def _is_connected(self) -> bool:
        try:
            status = await self.status()
        except DaemonUnreachable:
            return False
        return status["libvirt"]["connected"]

    async def start_guest(self, plan: GuestPlan) -> None:
        """Boot a guest on the chosen CPUs.

        Raises:
            GuestError: libvirt returned an error.
        """
        await asyncio.to_thread(self.guests.start, plan, self.pins)

    async def status(self) -> Status:
        """Request the daemon's status over its socket, as any client does.

        Raises:
            VmpowerError: the daemon has stopped.
        """
        if self._running is not None and self._running.done():
            await self._running
        return await asyncio.to_thread(self._client.status)

    async def events(self) -> list[EventRecord]:
        """Request the daemon's events so far.

        Raises:
            VmpowerError: the daemon has stopped.
        """
        return await asyncio.to_thread(lambda: list(self._client.events()))

    async def stop_daemon(self) -> float:
        """Stop vmpowerd as SIGTERM does; return how long that took, in seconds."""
        began_s = time.monotonic()
        if self._daemon is not None and self._running is not None:
            self._daemon.stop()
            await self._running
        return time.monotonic() - began_s

    def changed_files(self) -> tuple[str, ...]:
        """Return the files of the CPU tree that differ from before."""
        after = read_files(self._tree, self.groups)
        paths = self._before.keys() | after.keys()
        return tuple(
            sorted(p for p in paths if self._before.get(p) != after.get(p))
        ) + ((JOURNAL_NAME,) if (self._config.run_dir / JOURNAL_NAME).exists() else ())

    def frequency_file(self, pcpu: PCpu) -> Path:
        """Return the file with the current frequency of a CPU."""
        return self._tree.cpu_dir / f"cpu{pcpu}" / "cpufreq" / "scaling_cur_freq"

    @property
    def compared_files(self) -> int:
        """Number of files that `changed_files` compares."""
        return len(self._before)

    async def close(self) -> None:
        """Stop and remove everything, in any state."""
        try:
            await self.stop_daemon()
        finally:
            self._client.close()
            logging.getLogger().removeHandler(self.log)
            await asyncio.to_thread(self.guests.close)
            await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        self.root.close()
        self._watchdog.dismiss()


class _Log(logging.Handler):
    """Keeps the last lines of the daemon's log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=_MAX_LOG_LINES)
        self.warnings: list[str] = []
        """Warnings and errors."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        line = f"{record.levelname} {record.getMessage()}"
        self._lines.append(line)
        if record.levelno >= logging.WARNING:
            self.warnings.append(line)

    def tail(self) -> str:
        """Return the last lines."""
        return "\n".join(self._lines)
