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
import pwd
import time
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.errors import HandoffError
from orchestrator.monitor.client.child_process import ChildProcess
from orchestrator.monitor.client.heartbeat import (
    HUNG_AFTER_S,
    PERIOD_S,
    SUSPECT_S,
    Heartbeat,
    sample_process,
)
from orchestrator.monitor.client.pending_withdrawals import PendingWithdrawals
from orchestrator.monitor.client.records import Records
from orchestrator.monitor.client.reports import Reports
from orchestrator.monitor.client.restart_pause import RestartPause
from orchestrator.monitor.client.system_call_filter import compile_filter
from orchestrator.monitor.link import reports
from orchestrator.monitor.link.commands import (
    Adopt,
    CloseChannel,
    CloseGroup,
    Exit,
    ForgetDomain,
    Hello,
    Ping,
    Quiesce,
    UseLock,
)
from orchestrator.monitor.link.messages import VERSION
from orchestrator.monitor.link.table import SharedTable, create_table
from orchestrator.system import open_files
from orchestrator.system.ticks import next_tick
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orchestrator.channel.protocol import EnergyFigures
    from orchestrator.energy.grants import GrantTimes
    from orchestrator.monitor.client.views import (
        Grant,
        GuestVote,
        MonitorSnapshot,
        Totals,
    )
    from orchestrator.monitor.link.commands import Command, Decided
    from orchestrator.monitor.link.messages import Message
    from orchestrator.values.p_states import PortSteps

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
"""A start takes 30 ms. A machine that needs longer gets twice the time at each next
attempt: otherwise none would succeed."""
LONGEST_START_S = 80.0
USER = "vmpower"
"""The user of the monitor process, if there is one; see `monitor_user`."""
_NOBODY = 65_534
_OWN_FILES = 32
"""Files that a monitor has open beside channels and groups, and some reserve."""
FILES_PER_GROUP = 6
"""Both limits to write, and as originals both again, governor and preference; a
mechanism with fewer leaves some unused."""


def monitor_user(name: str = USER) -> tuple[int, int]:
    """Return the user and group of the monitor process of a daemon that is root.

    A user that other services have, too, could stop and kill it: so it is `vmpower`
    where that user exists, else nobody.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return _NOBODY, _NOBODY
    is_root = 0 in (found.pw_uid, found.pw_gid)
    return (_NOBODY, _NOBODY) if is_root else (found.pw_uid, found.pw_gid)


class Monitor:
    """The monitor process, as seen by main.

    While no process runs, definitions are recorded for the next one; descriptors and
    sockets for it are dropped.

    Synchronization: the asyncio thread only.
    """

    start_timeout_s = START_TIMEOUT_S
    """How long the next process may take to start."""
    on_progress: Callable[[], None] = staticmethod(lambda: None)
    """Called each second in which both processes made progress."""

    def __init__(
        self,
        *,
        release_after_s: float,
        post: Callable[[events.Event], None],
        uid: int | None = None,
        gid: int | None = None,
        hung_after_s: float = HUNG_AFTER_S,
        budget: int = 0,
    ) -> None:
        """Create the shared table; `start` starts the process.

        Args:
            release_after_s: how long a group without votes is kept.
            post: receives events; called in the asyncio thread.
            uid: user that the process becomes; None: if this process is root, the user
                of `monitor_user`.
            gid: group that the process becomes; None: the group of that user.
            hung_after_s: how long a process may make no progress before it is killed;
                see `heartbeat`.
            budget: requests per second that each channel may send; 0: unlimited.
        """
        own_uid, own_gid = monitor_user() if os.geteuid() == 0 else (None, None)
        self._release_after_ms = round(release_after_s * 1_000)
        self._uid = own_uid if uid is None else uid
        self._gid = own_gid if gid is None else gid
        self._budget = budget
        self._filter = compile_filter()
        if self._filter is None:
            logger.info("no system call filter: pyseccomp is not installed")
        self._post = post
        self._lock_fd = -1
        self._table_fd = create_table()
        self._table = SharedTable(self._table_fd)
        self._records = Records(self._table)
        self._pending = PendingWithdrawals(self._table)
        self._adoptions: dict[tuple[DomainId, int], int] = {}
        self._adopted_total = 0
        self._reserved: set[int] = set()
        self._hung_after_s = hung_after_s
        self._is_starting = False
        """Whether the caller of `start` is still to learn how that ends."""
        self._next_beat: asyncio.TimerHandle | None = None
        self._reports = Reports(self._records, self._adoptions, post)
        self._pause = RestartPause()
        self._started_at_s = 0.0
        self._child = ChildProcess(self._on_report, self._on_death)
        self._ready: asyncio.Future[None] | None = None
        self._quiesced: asyncio.Future[None] | None = None
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Process ID while a process runs."""
        return self._child.pid

    @property
    def processed_total(self) -> int:
        """How many messages the current process has processed."""
        return self._pending.done_total

    # The process

    async def start(self) -> None:
        """Start a process and send it all definitions; also after a death.

        Raises:
            HandoffError: it did not start.
        """
        await asyncio.sleep(self._pause.seconds)
        self._is_starting = True
        try:
            await self._start()
        finally:
            self._is_starting = False
        self._beat_later(Heartbeat(self._hung_after_s), PERIOD_S)

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._renew_table()
        self._ready = loop.create_future()
        self._child.spawn()
        self._started_at_s = loop.time()
        self._transmit(self._hello(), [self._table_fd])
        self._pending.reset(self._table)
        if self._lock_fd >= 0:
            self._transmit(UseLock(), [self._lock_fd])
        for message in self._records.definitions():
            self._transmit(message)
        try:
            await asyncio.wait_for(self._ready, self.start_timeout_s)
        except TimeoutError:
            await self._child.kill()
            self.start_timeout_s = min(2 * self.start_timeout_s, LONGEST_START_S)
            raise HandoffError("monitor process did not start") from None
        self.start_timeout_s = START_TIMEOUT_S

    def _hello(self) -> Hello:
        return Hello(
            VERSION,
            self._release_after_ms,
            self._uid,
            self._gid,
            self._budget,
            "" if self._filter is None else self._filter.decode("latin-1"),
        )

    def _renew_table(self) -> None:
        """Create a table for the next process, with what the last one left."""
        os.close(self._table_fd)
        self._table_fd = create_table()
        # The old one is not closed: other threads may be reading it.
        self._table = SharedTable(self._table_fd)
        self._records.move_to(self._table, time.monotonic_ns())

    def use_lock(self, fd: int) -> None:
        """Make each process a user of the CPU tree's lock file.

        Args:
            fd: a descriptor of that file; owned by this object.
        """
        self._close_lock()
        self._lock_fd = fd
        self._transmit(UseLock(), [fd])

    def _close_lock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    async def quiesce(self, timeout_s: float) -> None:
        """End the process's work: it closes the channels, and writes no frequency.

        It stays, to restore the clock groups if this process dies before `stop`. It is
        killed after the timeout.
        """
        self._is_stopping = True
        self._stop_beating()
        if self._child.pid is None or self._quiesced is not None:
            return
        self._quiesced = asyncio.get_running_loop().create_future()
        self._transmit(Quiesce())
        try:
            await asyncio.wait_for(self._quiesced, timeout_s)
        except TimeoutError:
            await self._child.kill()

    async def stop(self, timeout_s: float) -> None:
        """End the process for good; it restores nothing.

        `snapshot` keeps returning the last state.
        """
        await self.quiesce(timeout_s)
        self._transmit(Exit())
        await self._child.end(timeout_s)
        self._close_lock()
        if self._table_fd >= 0:
            os.close(self._table_fd)
            self._table_fd = -1

    def _beat_later(self, heartbeat: Heartbeat, delay_s: float) -> None:
        self._stop_beating()
        loop = asyncio.get_running_loop()
        when_s = next_tick(loop.time(), delay_s)
        self._next_beat = loop.call_at(when_s, self._beat, heartbeat)

    def _stop_beating(self) -> None:
        if self._next_beat is not None:
            self._next_beat.cancel()
            self._next_beat = None

    def _beat(self, heartbeat: Heartbeat) -> None:
        """Kill a process that hangs; its death is then handled like any other."""
        pid = self._child.pid
        if pid is None:
            return
        now_s = asyncio.get_running_loop().time()
        done = self.processed_total
        if done == self._pending.sent_total:
            self.on_progress()
            self._transmit(Ping())
            self._beat_later(heartbeat, PERIOD_S)
        elif heartbeat.is_hung(done, sample_process(pid), now_s):
            logger.error("monitor process hangs, killing it pid=%d", pid)
            self._child.kill_now()
        else:
            self._beat_later(heartbeat, SUSPECT_S)

    def _on_death(self, status: int) -> None:
        self._stop_beating()
        self._pause.count(asyncio.get_running_loop().time() - self._started_at_s)
        self._adoptions.clear()
        self._pending.apply_unacknowledged()
        if self._is_starting:
            # The caller of `start` tries again; a second one must not be started.
            if self._ready is not None and not self._ready.done():
                reason = f"monitor process exited with status {status}"
                self._ready.set_exception(HandoffError(reason))
        elif self._is_stopping:
            _resolve(self._quiesced)
        else:
            self._post(events.MonitorDied(status))

    # Commands

    def send(self, command: Decided, fds: Sequence[int] = ()) -> None:
        """Send a command; it is ignored if it is about something unknown.

        Args:
            command: the command.
            fds: descriptors to send with it; they remain the caller's.
        """
        fallback = self._records.find_fallback(command)
        self._forget_adoptions(command)
        complete = self._records.record(command)
        if isinstance(command, CloseGroup):
            self._reserved.discard(command.group)
        if complete is not None:
            self._transmit(complete, fds, fallback)

    def _forget_adoptions(self, command: Decided) -> None:
        match command:
            case CloseChannel(uuid, number):
                self._adoptions.pop((DomainId(uuid), number), None)
            case ForgetDomain(uuid):
                for number in self._records.channels_of(DomainId(uuid)):
                    self._adoptions.pop((DomainId(uuid), number), None)
            case _:
                pass

    def reserve(self, group: int) -> bool:
        """Reserve room for a group's descriptors until CloseGroup; return success.

        Without it, a group could be taken whose frequency cannot be written.
        """
        is_there = group in self._reserved or self._has_room(FILES_PER_GROUP)
        if is_there:
            self._reserved.add(group)
        return is_there

    def _has_room(self, files: int) -> bool:
        # The monitor inherits this process's limit.
        held = len(self._adoptions) + FILES_PER_GROUP * len(self._reserved)
        return _OWN_FILES + held + files <= open_files.limit()

    def adopt(
        self,
        uuid: DomainId,
        number: int,
        sock: socket.socket,
        steps: PortSteps | None = None,
    ) -> None:
        """Hand a connected channel over; main's own descriptor is closed.

        If that is not possible (no process, unknown domain), EndpointClosed is posted
        soon.

        Args:
            uuid: the domain.
            number: of the channel.
            sock: its socket.
            steps: how its bytes are read, if it is a P-state channel.

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
                steps=steps,
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

    def grant_of(self, group: int) -> Grant:
        """Return what was last set for a group."""
        return self._records.grant_of(group)

    def grant_times(self, group: int) -> GrantTimes | None:
        """Return for how long each step was granted to a group; None: unknown."""
        return self._records.grant_times(group)

    def write_energy(self, uuid: DomainId, figures: EnergyFigures) -> None:
        """Let a domain's guest query what the domain draws; for ten seconds."""
        self._records.write_energy(uuid, figures, time.monotonic_ns())

    def votes(self) -> Iterator[tuple[DomainId, GuestVote]]:
        """Yield the votes of all guests; after `stop`, the last ones."""
        return self._records.votes()

    def observed_votes(self) -> dict[tuple[DomainId, int], int]:
        """Return what guests and policies of observed domains would vote for, in kHz.

        By domain and vCPU; those for which there is a request or a policy.
        """
        return dict(self._records.observed_votes())

    def resume_votes(self, uuid: DomainId, votes: Iterable[GuestVote]) -> None:
        """Set votes of an earlier run of the daemon; the domain is defined next.

        They are in the shared table, as the votes that survive a monitor process are.

        Raises:
            ValueError: the domain is defined already.
        """
        self._records.resume_votes(uuid, votes)

    def snapshot(self) -> MonitorSnapshot:
        """Read the shared table: some microseconds per row, without blocking."""
        return self._records.snapshot()

    def totals(self) -> Totals:
        """Copy what the monitor has counted, from the shared table."""
        return self._records.totals()

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
                _resolve(self._ready)
            case reports.Quiesced():
                _resolve(self._quiesced)
            case _:
                self._reports.post(report)


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
