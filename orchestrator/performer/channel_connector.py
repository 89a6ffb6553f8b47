# SPDX-License-Identifier: Apache-2.0
"""Connects channels, with at most one attempt per channel, in threads.

Theory of operation: an attempt waits for its delay, connects in a thread, and hands the
endpoint to the monitor, unless it has been replaced by a later attempt or cancelled.
Each outcome is an event; nothing is decided here.

Synchronization: the asyncio thread only, except for `_work_connect`, which runs in the
pool's threads and only posts.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.channel.endpoint import connect
from orchestrator.controller.inventory import CONNECTED_STATES
from orchestrator.errors import (
    EndpointAbsent,
    EndpointContended,
    EndpointError,
    HandoffError,
)
from orchestrator.performer.call_pool import CallPool

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Container

    from orchestrator.controller import actions
    from orchestrator.controller.inventory import Inventory
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.values.domain import DomainId

CONNECT_CALLS = 8
"""Channels being connected at once. Each waits until QEMU accepts, usually a
millisecond, but a quarter of a second if another program holds the channel."""


class ChannelConnector:
    """Connects channels; keeps track of the attempts in progress.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        *,
        inventory: Inventory,
        monitor: Monitor,
        post: Callable[[events.Event], None],
        trusted_uids: Container[int],
        find_qemu: Callable[[str], int | None],
    ) -> None:
        """Connect nothing yet.

        Args:
            inventory: knows which channels are connected.
            monitor: receives the endpoints.
            post: receives events; from any thread.
            trusted_uids: users that may listen at a channel; used in any thread.
            find_qemu: returns the QEMU process of the domain with a name, if known;
                called in any thread.
        """
        self._inventory = inventory
        self._monitor = monitor
        self._post = post
        self._trusted_uids = trusted_uids
        self._find_qemu = find_qemu
        self._calls = CallPool("connect", size=CONNECT_CALLS)
        self._loop = asyncio.get_running_loop()
        self._attempts: dict[
            tuple[DomainId, int], tuple[actions.ConnectChannel, asyncio.Handle]
        ] = {}

    def connect_later(self, action: actions.ConnectChannel) -> None:
        """Connect a channel after a delay; replaces an earlier attempt."""
        key = (action.uuid, action.number)
        self.cancel(*key)
        handle: asyncio.Handle
        if action.delay_s:
            handle = self._loop.call_later(action.delay_s, self._connect, action)
        else:  # not among thousands of timers
            handle = self._loop.call_soon(self._connect, action)
        self._attempts[key] = (action, handle)

    def cancel(self, uuid: DomainId, number: int) -> None:
        """Cancel the attempt to connect a channel, if there is one."""
        if pending := self._attempts.pop((uuid, number), None):
            pending[1].cancel()

    def stop(self) -> None:
        """Cancel all attempts; does not wait for those in progress."""
        for key in list(self._attempts):
            self.cancel(*key)
        self._calls.stop()

    def _connect(self, action: actions.ConnectChannel) -> None:
        key = (action.uuid, action.number)
        if not self._inventory.is_monitor_up:
            self._attempts.pop(key, None)
            return  # everything is connected again when the next monitor starts
        work = partial(self._work_connect, action, self._name_to_check(action))
        self._calls.submit(key, "connect", work)

    def _name_to_check(self, action: actions.ConnectChannel) -> str:
        """Return the domain's name if another QEMU could listen at the path, or "".

        libvirt's own paths have the ID of the run in their directory.
        """
        record = self._inventory.domains.get(action.uuid)
        if record is None:
            return ""
        directory = action.path.rpartition("/")[0].rpartition("/")[2]
        run = record.spec.run
        is_of_run = directory.startswith((f"{run}-", f"domain-{run}-"))
        return "" if is_of_run else record.spec.name

    def _work_connect(self, action: actions.ConnectChannel, name: str) -> None:
        uuid, number, path = action.uuid, action.number, action.path
        try:
            qemu_pid = self._find_qemu(name) if name else None
            endpoint = connect(path, self._trusted_uids, qemu_pid=qemu_pid)
        except EndpointAbsent as error:
            self._post(events.ChannelAbsent(uuid, number, path, str(error)))
        except EndpointContended as error:
            self._post(events.ChannelContended(uuid, number, path, str(error)))
        except EndpointError as error:
            self._post(events.ChannelRefused(uuid, number, path, str(error)))
        else:
            self._loop.call_soon_threadsafe(self._adopt, action, endpoint)

    def _adopt(self, action: actions.ConnectChannel, endpoint: socket.socket) -> None:
        key = (action.uuid, action.number)
        is_latest = self._attempts.get(key, (None,))[0] is action
        if is_latest:
            del self._attempts[key]
        if not is_latest or not self._may_adopt(*key):
            endpoint.close()
            return
        try:
            self._monitor.adopt(*key, endpoint)
        except HandoffError as error:
            self._post(events.ChannelRefused(*key, action.path, str(error)))
        else:
            self._post(events.ChannelConnected(*key, action.path))

    def _may_adopt(self, uuid: DomainId, number: int) -> bool:
        channel = self._inventory.channel(uuid, number)
        is_open = channel is None or channel.state in CONNECTED_STATES
        return self._inventory.is_monitor_up and not is_open
