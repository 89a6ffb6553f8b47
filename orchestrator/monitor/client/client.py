"""Main's side of the monitor: starts it, tells it what exists, hears what happens.

Theory of operation: what a monitor must know (groups, domains) is recorded here as it
is defined, and told again to each new process, so that it takes up the votes that its
predecessor left in the shared table before it is given any clock to write. Descriptors
are not kept: after a death main hands the groups over and connects the channels anew.
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
    ForgetDomain,
    Hello,
    Ping,
    Quiesce,
    TakeBack,
)
from orchestrator.monitor.link.messages import VERSION
from orchestrator.monitor.link.table import SharedTable, create_table
from orchestrator.system import open_files
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from orchestrator.monitor.client.views import MonitorSnapshot
    from orchestrator.monitor.link.commands import Command, Decided
    from orchestrator.monitor.link.messages import Message

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
"""A start takes 30 ms; a machine that needs seconds is in other trouble."""

HUNG_AFTER_S = 10.0
"""A message is done within a millisecond; a monitor that has not come to it in so long
serves no guest either."""
_NOBODY = 65_534
_OWN_FILES = 32
"""What a monitor has open beside channels and groups, and some room to move."""
_FILES_PER_GROUP = 3
"""Its clock, its governor, and the clock once more as an original."""


class Monitor:
    """The monitor process, as main sees it.

    While no process lives, definitions are recorded for the next one, and what would
    need a process is not done: hand-overs are dropped, sockets are closed.

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
        """Make the shared table; `start` starts the process.

        Args:
            release_after_s: how long a group without votes is kept.
            post: takes events; called in the asyncio thread.
            uid: user that the process becomes; None: nobody if we are root.
            gid: group that the process becomes; None: nogroup if we are root.
            hung_after_s: how long it may do nothing.
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
        """How many messages should be done by now, and since when they were told."""
        self._due_since_s = 0.0
        self._child = ChildProcess(self._on_report, self._on_death)
        self._ready: asyncio.Future[None] | None = None
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Process id while a process lives."""
        return self._child.pid

    # The process

    async def start(self) -> None:
        """Start a process and tell it what is defined; also after a death.

        Raises:
            HandoffError: it did not come up.
        """
        loop = asyncio.get_running_loop()
        self._records.clear_free_rows()
        self._ready = loop.create_future()
        self._child.spawn()
        hello = Hello(VERSION, self._release_after_ms, self._uid, self._gid)
        self._transmit(hello, [self._table_fd])
        self._pending.reset()
        self._due = 0
        for message in self._records.tell_all():
            self._transmit(message)
        try:
            await asyncio.wait_for(self._ready, START_TIMEOUT_S)
        except TimeoutError:
            await self._child.kill()
            raise HandoffError("the monitor process did not start") from None

    async def stop(self, timeout_s: float) -> None:
        """End the process for good; it closes the channels and restores nothing.

        `snapshot` goes on telling what was last.
        """
        self._is_stopping = True
        self._transmit(Quiesce())
        await self._child.end(timeout_s)
        if self._table_fd >= 0:
            os.close(self._table_fd)
            self._table_fd = -1

    def check_health(self) -> None:
        """Kill a process that hangs; its death is heard as any other is.

        To be called now and then. It costs an idle monitor one message.
        """
        now_s = asyncio.get_running_loop().time()
        if self._pending.is_done(self._due):
            self._transmit(Ping())
            self._due, self._due_since_s = self._pending.sent_total, now_s
        elif now_s - self._due_since_s >= self._hung_after_s:
            logger.error("monitor %s hangs, and is killed", self._child.pid)
            self._child.kill_now()

    def _on_death(self, status: int) -> None:
        self._adoptions.clear()
        self._pending.apply_unacknowledged()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(
                HandoffError(f"the monitor process ended with status {status}")
            )
        elif not self._is_stopping:
            self._post(events.MonitorDied(status))

    # Commands

    def send(self, command: Decided, fds: Sequence[int] = ()) -> None:
        """Have the monitor do something; about what does not exist, nothing happens.

        Args:
            command: what.
            fds: descriptors that go with it; they remain the caller's.
        """
        undone = self._records.find_undone(command)
        complete = self._records.record(command)
        self._forget_adoptions(command)
        if isinstance(command, TakeBack):
            self._reserved.discard(command.group)
        if complete is not None:
            self._transmit(complete, fds, undone)

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
        """Keep room for a group's descriptors until TakeBack; tell if there is any.

        Without it a group would be taken whose frequency cannot be written.
        """
        is_there = group in self._reserved or self._has_room(_FILES_PER_GROUP)
        if is_there:
            self._reserved.add(group)
        return is_there

    def _has_room(self, files: int) -> bool:
        # The monitor inherits our limit.
        held = len(self._adoptions) + _FILES_PER_GROUP * len(self._reserved)
        return _OWN_FILES + held + files <= open_files.limit()

    def adopt(self, uuid: DomainId, number: int, sock: socket.socket) -> None:
        """Give a connected channel away; main's own descriptor is closed.

        Where it cannot be given (no process, unknown domain), EndpointClosed is
        posted soon.

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
        closed = events.EndpointClosed(uuid, number, "the monitor is not available")
        asyncio.get_running_loop().call_soon(self._post, closed)

    def heard_ns(self, uuid: DomainId, number: int) -> int:
        """Return when (monotonic) a channel's guest last sent anything; 0: never.

        It is noted before what was sent is done, and never earlier than it was sent by
        more than a pass of the monitor's loop.
        """
        return self._records.heard_ns(uuid, number)

    def snapshot(self) -> MonitorSnapshot:
        """Read the shared table: some microseconds per row, no wait for anybody."""
        return self._records.snapshot()

    def _transmit(
        self,
        message: Command,
        fds: Sequence[int] = (),
        undone: Callable[[], None] | None = None,
    ) -> None:
        """Tell the monitor.

        Args:
            message: what.
            fds: descriptors that go with it.
            undone: does it in the stead of a monitor that cannot, if need be.
        """
        if self._child.is_connected:
            self._pending.count(undone)
            self._child.send(message, fds)
        elif undone is not None:
            undone()

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

    def _on_channel_report(self, report: reports.OfChannel) -> None:
        uuid, number = DomainId(report.uuid), report.number
        # An earlier endpoint of the same channel may have ended behind our back.
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
