# SPDX-License-Identifier: Apache-2.0
"""A main process to be killed: takes groups, has a guest change frequencies.

Or, with a third argument, has ended the monitor's work and would restore them now.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from orchestrator.channel.protocol import Unit
from tests.monitor.monitor_harness import TIMEOUT_S, monitor_harness


async def _run(directory: Path, groups: int, *, is_stopping: bool) -> None:
    async with monitor_harness(directory) as main:
        for number in range(groups):
            main.add_group(number)
        main.define_domain(*range(groups))
        guest = main.open_channel()
        for number in range(groups - 1):  # the last one stays untaken
            await guest.request(Unit.SCALE_MIN, vcpu=number)
        if is_stopping:
            await main.monitor.quiesce(TIMEOUT_S)
        print(main.monitor.pid, flush=True)  # noqa: T201 - to the test that kills us
        if is_stopping:
            await asyncio.Event().wait()
        while True:
            for unit in (Unit.SCALE_MAX, Unit.SCALE_MIN):
                await guest.request(unit)


if __name__ == "__main__":
    asyncio.run(
        _run(Path(sys.argv[1]), int(sys.argv[2]), is_stopping=len(sys.argv) > 3)
    )
