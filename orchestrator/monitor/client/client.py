# SPDX-License-Identifier: Apache-2.0
"""Main's side of the monitor: starts it, sends commands, receives reports.

Theory of operation: definitions of groups and domains are recorded here and sent again
to each new process, so that it resumes the votes that its predecessor left in the
shared table before it receives any descriptor. Descriptors are not kept: after the
monitor's death main hands the groups over and connects the channels again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.errors import HandoffError
from orchestrator.monitor.client.child_process import ChildProcess
from orchestrator.monitor.client.pending_withdrawals import PendingWithdrawals
from orchestrator.monitor.client.records import Records
from orchestrator.monitor.link import reports
from orchestrator.monitor.link.commands import (
    Adopt,
    CloseChannel,
    CloseGroup,
    ForgetDomain,
    Hello,
    Ping,
    Quiesce,
)
from orchestrator.monitor.link.messages import VERSION
from orchestrator.monitor.link.table import SharedTable, create_table
from orchestrator.system import open_files
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orchestrator.monitor.client.views import GuestVote, MonitorSnapshot
    from orchestrator.monitor.link.commands import Command, Decided
    from orchestrator.monitor.link.messages import Message

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
"""A start takes 30 ms; a machine that needs seconds has other problems."""

HUNG_AFTER_S = 10.0
"""A message is processed within a millisecond; a monitor that takes this long does not
serve guests either."""
_NOBODY = 65_534
_OWN_FILES = 32
"""Files that a monitor has open beside channels and groups, and some reserve."""
_FILES_PER_GROUP = 3
"""Its frequency, its governor, and its frequency again as an original."""


class Monitor:
    """The monitor process, as seen by main.

    While no process runs, definitions are recorded for the next one; descriptors and
    sockets for it are dropped.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        *,
        release_after_s: float,
        post: Callable[[events.Event], None],
        uid: int | None = None,
        gid: int | None = None,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        """Create the shared table; `start` starts the process.

        Args:
            release_after_s: how long a group without votes is kept.
            post: receives events; called in the asyncio thread.
            uid: user that the process becomes; None: nobody if this process is root.
            gid: group that the process becomes; None: nogroup if this process is root.
            hung_after_s: how long a message may take before the process is killed.
        """
        is_root = os.geteuid() == 0
        self._release_after_ms = round(release_after_s * 1_000)
        self._uid = _NOBODY if uid is None and is_root else uid
        self._gid = _NOBODY if gid is None and is_root else gid
        self._post = post
        self._table_fd = create_table()
        self._table = SharedTable(self._table_fd)
        self._records = Records(self._table)
        self._pending = PendingWithdrawals(self._table)
        self._adoptions: dict[tuple[DomainId, int], int] = {}
        self._adopted_total = 0
        self._reserved: set[int] = set()
        self._hung_after_s = hung_after_s
        self._due = 0
        """How many messages should have been processed by now, and when that was
        determined."""
        self._due_since_s = 0.0
        self._child = ChildProcess(self._on_report, self._on_death)
        self._ready: asyncio.Future[None] | None = None
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Process ID while a process runs."""
        return self._child.pid

    # The process

    async def start(self) -> None:
        """Start a process and send it all definitions; also after a death.

        Raises:
            HandoffError: it did not start.
        """
        loop = asyncio.get_running_loop()
        self._records.clear_free_rows()
        self._ready = loop.create_future()
        self._child.spawn()
        hello = Hello(VERSION, self._release_after_ms, self._uid, self._gid)
        self._transmit(hello, [self._table_fd])
        self._pending.reset()
        self._due = 0
        for message in self._records.definitions():
            self._transmit(message)
        try:
            await asyncio.wait_for(self._ready, START_TIMEOUT_S)
        except TimeoutError:
            await self._child.kill()
            raise HandoffError("monitor process did not start") from None

    async def stop(self, timeout_s: float) -> None:
        """End the process for good; it closes the channels and restores nothing.

        `snapshot` keeps returning the last state.
        """
        self._is_stopping = True
        self._transmit(Quiesce())
        await self._child.end(timeout_s)
        if self._table_fd >= 0:
            os.close(self._table_fd)
            self._table_fd = -1

    def check_health(self) -> None:
        """Kill a process that hangs; its death is then handled like any other.

        To be called periodically. Costs an idle monitor one message.
        """
        now_s = asyncio.get_running_loop().time()
        if self._pending.is_done(self._due):
            self._transmit(Ping())
            self._due, self._due_since_s = self._pending.sent_total, now_s
        elif now_s - self._due_since_s >= self._hung_after_s:
            logger.error("monitor process hangs, killing it pid=%s", self._child.pid)
            self._child.kill_now()

    def _on_death(self, status: int) -> None:
        self._adoptions.clear()
        self._pending.apply_unacknowledged()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(
                HandoffError(f"monitor process exited with status {status}")
            )
        elif not self._is_stopping:
            self._post(events.MonitorDied(status))

    # Commands

    def send(self, command: Decided, fds: Sequence[int] = ()) -> None:
        """Send a command; it is ignored if it is about something unknown.

        Args:
            command: the command.
            fds: descriptors to send with it; they remain the caller's.
        """
        fallback = self._records.find_fallback(command)
        complete = self._records.record(command)
        self._forget_adoptions(command)
        if isinstance(command, CloseGroup):
            self._reserved.discard(command.group)
        if complete is not None:
            self._transmit(complete, fds, fallback)

    def _forget_adoptions(self, command: Decided) -> None:
        match command:
            case CloseChannel(uuid, number):
                self._adoptions.pop((DomainId(uuid), number), None)
            case ForgetDomain(uuid):
                for key in [key for key in self._adoptions if key[0] == uuid]:
                    del self._adoptions[key]
            case _:
                pass

    def reserve(self, group: int) -> bool:
        """Reserve room for a group's descriptors until CloseGroup; return success.

        Without it, a group could be taken whose frequency cannot be written.
        """
        is_there = group in self._reserved or self._has_room(_FILES_PER_GROUP)
        if is_there:
            self._reserved.add(group)
        return is_there

    def _has_room(self, files: int) -> bool:
        # The monitor inherits this process's limit.
        held = len(self._adoptions) + _FILES_PER_GROUP * len(self._reserved)
        return _OWN_FILES + held + files <= open_files.limit()

    def adopt(self, uuid: DomainId, number: int, sock: socket.socket) -> None:
        """Hand a connected channel over; main's own descriptor is closed.

        If that is not possible (no process, unknown domain), EndpointClosed is posted
        soon.

        Raises:
            HandoffError: the monitor may have no more files open.
        """
        with sock:
            if not self._has_room(1):
                raise HandoffError(open_files.describe_shortage())
            if not (self._records.is_defined(uuid) and self._child.is_connected):
                self._refuse_adoption(uuid, number)
                return
            self._adopted_total += 1
            self._adoptions[uuid, number] = self._adopted_total
            message = Adopt(
                uuid=uuid,
                number=number,
                row=self._records.channel_row(uuid, number),
                adoption=self._adopted_total,
                is_enabled=self._records.is_enabled(uuid, number),
            )
            self._transmit(message, [sock.fileno()])

    def _refuse_adoption(self, uuid: DomainId, number: int) -> None:
        closed = events.EndpointClosed(uuid, number, "monitor unavailable")
        asyncio.get_running_loop().call_soon(self._post, closed)

    def last_received_ns(self, uuid: DomainId, number: int) -> int:
        """Return when (monotonic) a channel's guest last sent anything; 0: never.

        It is noted before the packets are processed, and at most one pass of the
        monitor's loop earlier than they were sent.
        """
        return self._records.last_received_ns(uuid, number)

    def votes(self) -> Iterator[tuple[DomainId, GuestVote]]:
        """Yield the votes of all guests; after `stop`, the last ones."""
        return self._records.votes()

    def resume_votes(self, uuid: DomainId, votes: Iterable[GuestVote]) -> None:
        """Set votes of an earlier run of the daemon; the domain is defined next.

        They are in the shared table, as the votes that survive a monitor process are.

        Raises:
            ValueError: the domain is defined already.
        """
        self._records.resume_votes(uuid, votes)

    def grant_khz(self, group: int) -> int | None:
        """Return the last frequency that was set for a group; None: not known.

        May be called from any thread.
        """
        return self._records.grant_khz(group)

    def snapshot(self) -> MonitorSnapshot:
        """Read the shared table: some microseconds per row, without blocking."""
        return self._records.snapshot()

    def _transmit(
        self,
        message: Command,
        fds: Sequence[int] = (),
        fallback: Callable[[], None] | None = None,
    ) -> None:
        """Send a message to the monitor.

        Args:
            message: the message.
            fds: descriptors to send with it.
            fallback: does its work if the monitor is dead, or dies before it is
                processed.
        """
        if self._child.is_connected:
            self._pending.count(fallback)
            self._child.send(message, fds)
        elif fallback is not None:
            fallback()

    # Reports

    def _on_report(self, report: Message) -> None:
        match report:
            case reports.Ready():
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
            case reports.TakeWanted(group):
                self._post(events.TakeWanted(group))
            case reports.GroupYielded(group):
                self._post(events.GroupYielded(group))
            case reports.WriteRefused(group, errno):
                self._post(events.WriteRefused(group, errno))
            case (
                reports.EndpointClosed()
                | reports.PolicySent()
                | reports.PolicyRemoved()
                | reports.RequestRefused()
            ):
                self._on_channel_report(report)
            case _:
                raise HandoffError(f"unexpected message from the monitor: {report!r}")

    def _on_channel_report(self, report: reports.ChannelReport) -> None:
        uuid, number = DomainId(report.uuid), report.number
        # This report may be from an earlier endpoint of the same channel.
        if self._adoptions.get((uuid, number)) != report.adoption:
            return
        match report:
            case reports.EndpointClosed():
                del self._adoptions[uuid, number]
                self._post(events.EndpointClosed(uuid, number, report.reason))
            case reports.PolicySent(_, _, _, ticket, generation, text):
                packet = text.encode("latin-1")
                self._post(events.PolicySent(uuid, number, ticket, generation, packet))
            case reports.PolicyRemoved():
                self._post(events.PolicyRemoved(uuid, number))
            case reports.RequestRefused(_, _, _, reason, vcpu, unit):
                self._post(events.RequestRefused(uuid, number, reason, vcpu, unit))
