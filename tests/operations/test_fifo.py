# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.operations.dpdk.fifo import Fifos

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = '{"command": "power", "unit": "SCALE_MIN"}'


def test_a_removed_fifo_is_created_again(tmp_path: Path) -> None:
    async def run() -> None:
        received: asyncio.Queue[tuple[object, int]] = asyncio.Queue()
        fifos = Fifos(
            tmp_path, lambda message, cpu: received.put_nowait((message, cpu))
        )
        fifos.keep([5, 6])
        before = (tmp_path / "fifo6").stat().st_ino
        (tmp_path / "fifo5").unlink()
        fifos.keep([5, 6])
        assert (tmp_path / "fifo6").stat().st_ino == before
        (tmp_path / "fifo5").write_text(MESSAGE)
        async with asyncio.timeout(20):
            assert await received.get() == (MESSAGE, 5)
        fifos.close()
        assert list(tmp_path.iterdir()) == []

    asyncio.run(run())
