# SPDX-License-Identifier: Apache-2.0
"""A whole daemon in a process of its own, whose scrapes are watched from inside.

    python -m tests.daemon.counted_scrape CONFIG

Prints JSON: what was opened and which calls of libvirt were made during the second
scrape (the first one imports what writes the text), and its answer. Python reports
every file that it opens to an audit hook (sys.addaudithook); a call of libvirt is one
of its C module.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.config_files import load_config
from orchestrator.control import METRICS_PATH, READ_ONLY_SOCKET
from orchestrator.daemon import Daemon
from tests.rig.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.config import Config

CHANNELS = 2


class Watch:
    """Records files that are opened and calls of libvirt, while it is on."""

    def __init__(self) -> None:
        self.is_on = False
        self.opened: list[str] = []
        self.calls: list[str] = []
        sys.addaudithook(self._note)
        module = sys.modules["libvirtmod"]
        for name in vars(module).copy():
            made = getattr(module, name)
            if name.startswith("vir") and callable(made):
                setattr(module, name, self._counted(name, made))

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and event in ("open", "os.listdir", "os.scandir"):
            self.opened.append(str(arguments[0]))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            if self.is_on:
                self.calls.append(name)
            return call(*arguments, **more)

        return counted


async def fetch(config: Config) -> str:
    socket = config.run_dir / READ_ONLY_SOCKET
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(f"GET {METRICS_PATH} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def run(config: Config) -> dict[str, Any]:
    watch = Watch()
    daemon = Daemon(config, reload=lambda: config)
    running = asyncio.create_task(daemon.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not (is_served(daemon) or running.done()):
                await asyncio.sleep(0.01)
        await fetch(config)
        watch.is_on = True
        text = await fetch(config)
        watch.is_on = False
        # It does notice both.
        seen = len(watch.opened), len(watch.calls)
        watch.is_on = True
        Path(__file__).read_text(encoding="utf-8")
        libvirt.getVersion()
        watch.is_on = False
        return {
            "opened": watch.opened[: seen[0]],
            "calls": watch.calls[: seen[1]],
            "is_watching": (len(watch.opened), len(watch.calls)) > seen,
            "text": text,
        }
    finally:
        daemon.stop()
        await running


def is_served(daemon: Daemon) -> bool:
    domains = daemon._inventory.domains.values()
    states = [it.state for record in domains for it in record.channels.values()]
    return states == [ChannelState.OPEN] * CHANNELS


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(load_config(Path(sys.argv[1]))))))  # noqa: T201
