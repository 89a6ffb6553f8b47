"""What the kernel says of every clock group, read beside the loop.

Theory of operation: a group costs two files, 512 groups 8 ms of CPU, and a kernel may
take its time about each clock: `scaling_cur_freq` can wait for the CPU that it is of.
So a thread reads, one at a time whatever the number of those who ask. Who asks while it
reads gets what is read next, never what was read before he asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.power.topology import read_clocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.power.group import ClockGroup
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.power.topology import ClockReading


class Clocks:
    """Reads clocks and governors in force.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, tree: CpuTree, groups: Callable[[], Iterable[ClockGroup]]
    ) -> None:
        """Read nothing yet.

        Args:
            tree: where the groups are.
            groups: says which there are.
        """
        self.latest: Mapping[int, ClockReading] = {}
        """By clock group, as `refresh` found it last."""
        self._tree = tree
        self._groups = groups
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Bring `latest` to a state that is not older than this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        # Others may wait for it, too.
        await asyncio.shield(self._next)

    async def _read(self) -> None:
        async with self._turn:
            self._next = None
            groups = tuple(self._groups())
            self.latest = await asyncio.to_thread(read_clocks, self._tree, groups)
