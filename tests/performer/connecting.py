# SPDX-License-Identifier: Apache-2.0
"""A connector of channels, a real monitor process, and sockets as QEMU's."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.config import Config
from orchestrator.controller.actions import ConnectChannel
from orchestrator.controller.inventory import Inventory
from orchestrator.controller.records import ChannelRecord, DomainRecord
from orchestrator.performer.channel_connector import ChannelConnector
from tests.controller.specs import channel, domain, topology
from tests.monitor.monitor_harness import TIMEOUT_S, UUID, monitor_harness, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.monitor.monitor_harness import MonitorHarness

Outcome = (
    events.ChannelConnected
    | events.ChannelAbsent
    | events.ChannelContended
    | events.ChannelRefused
)


class Connecting:
    """One domain with channels, whose sockets are in a directory."""

    def __init__(self, main: MonitorHarness, directory: Path) -> None:
        self.directory = directory
        self.outcomes: list[Outcome] = []
        self.trusted_uids = {os.getuid()}
        self.qemu_pid: int | None = None
        self.inventory = Inventory(Config(), topology())
        self.inventory.is_monitor_up = True
        self.record = DomainRecord(domain(uuid=UUID))
        self.inventory.domains[UUID] = self.record
        self.connector = ChannelConnector(
            inventory=self.inventory,
            monitor=main.monitor,
            react=self._react,
            trusted_uids=self.trusted_uids,
            find_qemu=lambda _name: self.qemu_pid,
        )

    def _react(self, event: events.Event) -> None:
        assert isinstance(event, Outcome)
        self.outcomes.append(event)

    def path(self, number: int) -> str:
        return str(self.directory / f"channel.{number}")

    def listen(self, number: int) -> socket.socket:
        """Listen at a channel, as QEMU does."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path(number))
        listener.listen(1)
        listener.settimeout(0)
        return listener

    def connect(self, number: int, delay_s: float = 0.0) -> None:
        """Let the connector connect a channel."""
        spec = channel(number, self.path(number))
        self.record.channels[number] = ChannelRecord(spec)
        action = ConnectChannel(UUID, number, self.path(number), delay_s)
        self.connector.connect_later(action)

    async def wait_for(self, number: int, kind: type[Outcome]) -> str:
        """Wait for the outcome of a channel; return its reason."""

        def has_outcome() -> bool:
            return any(it.number == number for it in self.outcomes)

        await until(has_outcome, f"{kind.__name__} of channel {number}")
        (outcome,) = [it for it in self.outcomes if it.number == number]
        assert isinstance(outcome, kind)
        self.outcomes.remove(outcome)
        return str(getattr(outcome, "reason", ""))


async def accept(listener: socket.socket) -> socket.socket:
    """Accept a connection, as QEMU does."""
    async with asyncio.timeout(TIMEOUT_S):
        sock, _ = await asyncio.get_running_loop().sock_accept(listener)
        return sock


@asynccontextmanager
async def connecting(directory: Path) -> AsyncIterator[Connecting]:
    """Run a connector beside a monitor that knows the domain."""
    async with monitor_harness(directory) as main:
        main.add_group()
        main.define_domain(0)
        found = Connecting(main, directory)
        try:
            yield found
        finally:
            found.connector.stop()
