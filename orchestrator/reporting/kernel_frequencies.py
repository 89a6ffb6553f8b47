# SPDX-License-Identifier: Apache-2.0
"""The current frequency and governor of every clock group, read in a thread.

Theory of operation: a group requires reading two files (512 groups: 8 ms of CPU), and
the kernel can block in each: reading `scaling_cur_freq` may wait for the CPU in
question. So a thread reads them, one read at a time for all callers. A call during a
read waits for the next read, because the current one may have missed a change.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from orchestrator.power.topology import read_clocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.power.group import ClockGroup
    from orchestrator.power.obtained import ObtainedFrequencies
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.power.topology import ClockReading


class KernelFrequencies:
    """Reads current frequencies and governors.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        tree: CpuTree,
        groups: Callable[[], Iterable[ClockGroup]],
        obtained: ObtainedFrequencies,
    ) -> None:
        """Read nothing yet.

        Args:
            tree: where the groups are.
            groups: returns the groups to read.
            obtained: gets the frequencies.
        """
        self.latest: Mapping[int, ClockReading] = {}
        """By clock group, from the last `refresh`."""
        self._tree = tree
        self._groups = groups
        self._obtained = obtained
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Read everything; afterwards `latest` is no older than this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        # Other callers may wait for it, too.
        await asyncio.shield(self._next)

    async def _read(self) -> None:
        async with self._turn:
            self._next = None
            groups = tuple(self._groups())
            began_s = time.monotonic()
            self.latest = await asyncio.to_thread(read_clocks, self._tree, groups)
            found = {number: it.current_khz for number, it in self.latest.items()}
            self._obtained.note(found, began_s)
