# SPDX-License-Identifier: Apache-2.0
"""Watches for what can change CPUs behind the daemon's back.

CPUs that are switched off and on are notified by the kernel. After a suspend of the
host, which stops the monotonic clock, all frequencies may be lost. Everything else,
such as another program's write, shows only when the settings are read: at intervals.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.power import hotplug
from orchestrator.system.ticks import wait_for_tick

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from orchestrator.power.sysfs import CpuTree

logger = logging.getLogger(__name__)

SUSPENDED_S = 0.1
"""Reading two clocks takes less, and no suspend is that short."""


class HostWatch:
    """Posts `CpusSwitched` and `VerificationDue`.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        tree: CpuTree,
        interval_s: Callable[[], float],
        react: Callable[[events.Event], None],
    ) -> None:
        """Watch nothing yet.

        Args:
            tree: whose CPUs; the kernel does not notify about simulated ones.
            interval_s: returns the interval of verifications.
            react: receives the events.
        """
        self._tree = tree
        self._interval_s = interval_s
        self._react = react
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Start watching."""
        self._task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Stop watching; nothing is posted any more."""
        if self._task is not None:
            self._task.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    async def _watch(self) -> None:
        # First: a CPU that was switched must not be taken for another program's work.
        if not self._tree.is_simulated:
            await self._watch_cpus()
        await self._verify_regularly()

    async def _verify_regularly(self) -> None:
        asleep_s = read_suspended_s()
        while True:
            await wait_for_tick(self._interval_s())
            before_s, asleep_s = asleep_s, read_suspended_s()
            if asleep_s - before_s > SUSPENDED_S:
                logger.info("the host resumed from suspend")
                self._react(events.CpusSwitched(None))
            self._react(events.VerificationDue())

    async def _watch_cpus(self) -> None:
        try:
            self._socket = hotplug.open_socket()
            parse = await asyncio.to_thread(hotplug.load_parser)
        except (OSError, ImportError) as error:
            logger.warning(
                "the kernel's CPU notifications are not available, checking CPUs every"
                " %g s: %s",
                self._interval_s(),
                error,
            )
            return
        loop, sock = asyncio.get_running_loop(), self._socket
        loop.add_reader(sock, lambda: self._on_notified(sock, parse))

    def _on_notified(self, sock: socket.socket, parse: hotplug.Parse) -> None:
        pcpus = hotplug.receive(sock, parse)
        if pcpus is None or pcpus:
            self._react(events.CpusSwitched(pcpus))


def read_suspended_s() -> float:
    """Return how long the host has been suspended since it was booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
