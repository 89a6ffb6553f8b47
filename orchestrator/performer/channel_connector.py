# SPDX-License-Identifier: Apache-2.0
"""Connects channels, with at most one attempt per channel, in threads.

Theory of operation: an attempt waits for its delay, connects in a thread, waits for
acceptance, and hands the endpoint to the monitor, unless it has been replaced by a
later attempt or cancelled. The channels of one domain are connected in one call. Each
outcome is an event; nothing is decided here.

Synchronization: the asyncio thread only, except for `_work_connect`, which runs in the
pool's threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from functools import cache, partial
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.channel.acceptance import Connection
from orchestrator.channel.endpoint import connect
from orchestrator.controller.records import CONNECTED_STATES
from orchestrator.errors import (
    EndpointAbsent,
    EndpointContended,
    EndpointError,
    HandoffError,
    VmpowerError,
)
from orchestrator.performer.acceptance_waiter import AcceptanceWaiter
from orchestrator.performer.call_pool import CallPool
from orchestrator.system import open_files

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Container, Sequence

    from orchestrator.controller.actions import ConnectChannel
    from orchestrator.controller.inventory import Inventory
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.values.domain import DomainId, DomainSpec
    from orchestrator.values.p_states import PortSteps

CONNECT_CALLS = 4
"""Domains whose channels are being connected at once. It takes microseconds, but a path
on a network file system may hang."""
FILES_SHARE = 8
"""Connections that wait have at most an eighth of the files that main may open."""


class ChannelConnector:
    """Connects channels; keeps track of the attempts in progress."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        monitor: Monitor,
        react: Callable[[events.Event], None],
        trusted_uids: Container[int],
        find_qemu: Callable[[str], int | None],
    ) -> None:
        """Connect nothing yet.

        Args:
            inventory: knows which channels are connected.
            monitor: receives the endpoints.
            react: receives events.
            trusted_uids: users that may listen at a channel; used in any thread.
            find_qemu: returns the QEMU process of the domain with a name, if known;
                called in any thread.
        """
        self._inventory = inventory
        self._monitor = monitor
        self._react = react
        self._trusted_uids = trusted_uids
        self._find_qemu = find_qemu
        self._calls = CallPool("connect", size=CONNECT_CALLS)
        self._call_numbers = itertools.count()
        self._waiter = AcceptanceWaiter()
        self._loop = asyncio.get_running_loop()
        self._attempts: dict[tuple[DomainId, int], ConnectChannel] = {}
        """The latest attempt for each channel, until its outcome."""
        self._timers: dict[tuple[DomainId, int], asyncio.TimerHandle] = {}
        """Of the attempts that wait for their delay."""
        self._due: deque[ConnectChannel] = deque()
        """The attempts that begin as soon as there is room."""
        self._begun = 0
        """How many have a socket, or will have one in a moment."""
        self._is_beginning = False
        """Whether `_connect_due` is about to run."""

    def connect_later(self, action: ConnectChannel) -> None:
        """Connect a channel after a delay; replaces an earlier attempt."""
        key = (action.uuid, action.number)
        self.cancel(*key)
        self._attempts[key] = action
        if action.delay_s:
            timer = self._loop.call_later(action.delay_s, self._begin, action)
            self._timers[key] = timer
        else:  # not among thousands of timers
            self._begin(action)

    def cancel(self, uuid: DomainId, number: int) -> None:
        """Cancel the attempt to connect a channel, if there is one."""
        key = (uuid, number)
        self._attempts.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def stop(self) -> None:
        """Cancel all attempts; does not wait for those in progress."""
        for key in list(self._attempts):
            self.cancel(*key)
        self._calls.stop()
        self._waiter.stop()

    def _begin(self, action: ConnectChannel) -> None:
        self._timers.pop((action.uuid, action.number), None)
        self._due.append(action)
        self._begin_soon()

    def _begin_soon(self) -> None:
        if self._due and not self._is_beginning:
            self._is_beginning = True
            self._loop.call_soon(self._connect_due)

    def _connect_due(self) -> None:
        self._is_beginning = False
        if not self._inventory.is_monitor_up:
            # Everything is connected again when the next monitor starts.
            while self._due:
                self._end(self._due.popleft())
        for uuid, attempts in self._take_due().items():
            self._begun += len(attempts)
            record = self._inventory.domains.get(uuid)
            work = partial(
                self._work_connect, attempts, record.spec if record else None
            )
            # A unique kind, so that no call replaces another one that waits.
            self._calls.submit(uuid, f"connect {next(self._call_numbers)}", work)

    def _take_due(self) -> dict[DomainId, list[ConnectChannel]]:
        """Return the attempts that begin now, by domain."""
        most = open_files.limit() // FILES_SHARE
        taken: dict[DomainId, list[ConnectChannel]] = {}
        number = self._begun
        while self._due and number < most:
            action = self._due.popleft()
            if self._is_latest(action):
                taken.setdefault(action.uuid, []).append(action)
                number += 1
        return taken

    def _work_connect(
        self, attempts: Sequence[ConnectChannel], spec: DomainSpec | None
    ) -> None:
        find_qemu = cache(self._find_qemu)
        results: list[tuple[ConnectChannel, Connection | EndpointError]] = []
        for action in attempts:
            path, qemu_pid = action.path, None
            if spec is not None and not _is_path_of_run(path, spec.run):
                qemu_pid = find_qemu(spec.name)
            try:
                sock = connect(path, self._trusted_uids)
            except EndpointError as error:
                results.append((action, error))
            else:
                connection = Connection(sock, path, time.monotonic(), qemu_pid)
                results.append((action, connection))
        # Once the loop is closed, the process is about to end.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_connected, results)

    def _on_connected(
        self, results: Sequence[tuple[ConnectChannel, Connection | EndpointError]]
    ) -> None:
        for action, result in results:
            if isinstance(result, Connection):
                conclude = partial(self._on_accepted, action, result.sock)
                self._waiter.add(result, conclude)
                continue
            self._begun -= 1
            if self._end(action):
                self._react(_failure(action, result))
        self._begin_soon()

    def _on_accepted(
        self,
        action: ConnectChannel,
        endpoint: socket.socket,
        problem: EndpointContended | None,
    ) -> None:
        self._begun -= 1
        self._begin_soon()
        key = (action.uuid, action.number)
        is_latest = self._end(action)
        if problem is not None or not is_latest or not self._may_adopt(*key):
            endpoint.close()
            if problem is not None and is_latest:
                self._react(_failure(action, problem))
            return
        try:
            self._monitor.adopt(*key, endpoint, self._steps_of(*key))
        except HandoffError as error:
            self._react(_failure(action, error))
        else:
            self._react(events.ChannelConnected(*key, action.path))

    def _steps_of(self, uuid: DomainId, number: int) -> PortSteps | None:
        channel = self._inventory.channel(uuid, number)
        return None if channel is None else channel.spec.steps

    def _is_latest(self, action: ConnectChannel) -> bool:
        return self._attempts.get((action.uuid, action.number)) is action

    def _end(self, action: ConnectChannel) -> bool:
        """End an attempt; return whether it was neither replaced nor cancelled."""
        is_latest = self._is_latest(action)
        if is_latest:
            del self._attempts[action.uuid, action.number]
        return is_latest

    def _may_adopt(self, uuid: DomainId, number: int) -> bool:
        channel = self._inventory.channel(uuid, number)
        is_open = channel is None or channel.state in CONNECTED_STATES
        return self._inventory.is_monitor_up and not is_open


def _is_path_of_run(path: str, run: int) -> bool:
    """Return whether only the QEMU of a run can listen at a path.

    libvirt's own paths have the ID of the run in their directory.
    """
    directory = path.rpartition("/")[0].rpartition("/")[2]
    return directory.startswith((f"{run}-", f"domain-{run}-"))


def _failure(action: ConnectChannel, error: VmpowerError) -> events.Event:
    where = (action.uuid, action.number, action.path)
    if isinstance(error, EndpointAbsent):
        return events.ChannelAbsent(*where, str(error))
    if isinstance(error, EndpointContended):
        return events.ChannelContended(*where, str(error))
    return events.ChannelRefused(*where, str(error))
