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
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.errors import HandoffError
from orchestrator.monitor.client.child_process import Child
from orchestrator.monitor.client.pending_withdrawals import Unheard
from orchestrator.monitor.client.records import Records
from orchestrator.monitor.link import messages
from orchestrator.monitor.link.table import SharedTable, create_table
from orchestrator.system import open_files

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from orchestrator.monitor.client.views import DomainView, GroupView, MonitorSnapshot
    from orchestrator.monitor.link.messages import Message
    from orchestrator.monitor.listener import MonitorListener
    from orchestrator.power.group import PreparedGroup
    from orchestrator.values.domain import DomainId

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
        listener: MonitorListener,
        uid: int | None = None,
        gid: int | None = None,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        """Make the shared table; `start` starts the process.

        Args:
            release_after_s: how long a group without votes is kept.
            listener: who hears what happens.
            uid: user that the process becomes; None: nobody if we are root.
            gid: group that the process becomes; None: nogroup if we are root.
            hung_after_s: how long it may do nothing.
        """
        is_root = os.geteuid() == 0
        self._release_after_ms = round(release_after_s * 1_000)
        self._uid = _NOBODY if uid is None and is_root else uid
        self._gid = _NOBODY if gid is None and is_root else gid
        self._listener = listener
        self._table_fd = create_table()
        self._table = SharedTable(self._table_fd)
        self._records = Records(self._table)
        self._unheard = Unheard(self._table)
        self._disabled: set[tuple[DomainId, int]] = set()
        self._adoptions: dict[tuple[DomainId, int], int] = {}
        self._adopted_total = 0
        self._reserved: set[int] = set()
        self._hung_after_s = hung_after_s
        self._due = 0
        """How many messages should be done by now, and since when they were told."""
        self._due_since_s = 0.0
        self._child = Child(self._hear, self._on_death)
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
        hello = messages.Hello(
            messages.VERSION, self._release_after_ms, self._uid, self._gid
        )
        self._send(hello, [self._table_fd])
        self._unheard.begin()
        self._due = 0
        for message in self._records.tell_all():
            self._send(message)
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
        self._send(messages.Quiesce())
        await self._child.end(timeout_s)
        if self._table_fd >= 0:
            os.close(self._table_fd)
            self._table_fd = -1

    def look_after(self) -> None:
        """Kill a process that hangs; its death is heard as any other is.

        To be called now and then. It costs an idle monitor one message.
        """
        now_s = asyncio.get_running_loop().time()
        if self._unheard.is_done(self._due):
            self._send(messages.Ping())
            self._due, self._due_since_s = self._unheard.told, now_s
        elif now_s - self._due_since_s >= self._hung_after_s:
            logger.error("monitor %s hangs, and is killed", self._child.pid)
            self._child.strike()

    def _on_death(self, status: int) -> None:
        self._adoptions.clear()
        self._unheard.make_up()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(
                HandoffError(f"the monitor process ended with status {status}")
            )
        elif not self._is_stopping:
            self._listener.monitor_died(status)

    # What main tells

    def define_group(self, view: GroupView) -> None:
        """Tell of a clock group, or of a change in it; before vCPUs are put into it."""
        self._send(self._records.define_group(view))

    def reserve(self, group: int) -> bool:
        """Keep room for a group's descriptors until `take_back`; say if there is any.

        Without it a group would be taken whose clock nobody can write.
        """
        is_there = group in self._reserved or self._has_room(_FILES_PER_GROUP)
        if is_there:
            self._reserved.add(group)
        return is_there

    def _has_room(self, files: int) -> bool:
        # The monitor inherits our limit.
        held = len(self._adoptions) + _FILES_PER_GROUP * len(self._reserved)
        return _OWN_FILES + held + files <= open_files.limit()

    def hand_over(self, prepared: PreparedGroup, *, is_taken: bool) -> None:
        """Give a group's descriptors, which remain main's too.

        Args:
            prepared: the group; what was handed over of it before is replaced.
            is_taken: whether its governor is switched already: its clock is written at
                once then, also when it was before (a CPU that comes back has lost it).
        """
        originals = tuple(o.value.decode("latin-1") for o in prepared.originals)
        ours = tuple(o.taken_value.decode("latin-1") for o in prepared.originals)
        number = prepared.group.number
        message = messages.HandOver(number, is_taken, originals, ours)
        self._send(message, [prepared.clock_fd, *prepared.original_fds])

    def answer_take(self, group: int, *, is_taken: bool) -> None:
        """Say whether a group's governor is switched; the descriptors are there."""
        self._send(messages.AnswerTake(group, is_taken))

    def confirm_release(self, group: int) -> None:
        """Say that a yielded group is restored, so that main's death changes nothing.

        Without it the monitor would restore the group once more if main died.
        """
        self._send(messages.ConfirmRelease(group))

    def take_back(self, group: int) -> None:
        """Have a group's descriptors closed; answers that wait for it are NACK."""
        self._reserved.discard(group)
        self._send(messages.TakeBack(group))

    def define_domain(self, view: DomainView) -> None:
        """Tell of a domain, or of a change in it.

        Votes end of vCPUs that are gone, float now, or are in another group.
        """
        moved = self._records.find_moved(view)
        end = partial(self._records.withdraw_vcpus, view.uuid, moved)
        self._send(self._records.define_domain(view), undone=end if moved else None)

    def set_policy_vote(self, uuid: DomainId, vcpu: int, khz: int | None) -> None:
        """Let a policy vote for a vCPU, beside its guest; the higher vote counts.

        It takes the vCPU's clock group, as a guest's vote does, and is told to each new
        monitor. It ends by None here, when the vCPU is gone, floats or changes its
        group, and with the domain; it is not given back then. For what does not exist
        or floats, nothing happens.

        Args:
            uuid: the domain.
            vcpu: its vCPU.
            khz: any clock; rounded up to a step. None: no vote any more.
        """
        message = self._records.set_policy_vote(uuid, vcpu, khz)
        if message is not None:
            self._send(message)

    def forget_domain(self, uuid: DomainId) -> None:
        """Forget a domain, its votes, channels and counters."""
        message = self._records.forget_domain(uuid)
        for key in [key for key in self._adoptions if key[0] == uuid]:
            del self._adoptions[key]
        if message is not None:
            self._send(message)

    def adopt(self, uuid: DomainId, number: int, sock: socket.socket) -> None:
        """Give a connected channel away; main's own descriptor is closed.

        Where it cannot be given (no process, unknown domain), `endpoint_closed` is
        called soon.

        Raises:
            HandoffError: the monitor may have no more files open.
        """
        with sock:
            if not self._has_room(1):
                raise HandoffError(open_files.describe_shortage())
            domain = self._records.number_of(uuid)
            if domain is None or not self._child.can_hear:
                self._refuse_adoption(uuid, number)
                return
            self._adopted_total += 1
            self._adoptions[uuid, number] = self._adopted_total
            message = messages.Adopt(
                domain=domain,
                number=number,
                row=self._records.channel_row(uuid, number),
                adoption=self._adopted_total,
                is_enabled=(uuid, number) not in self._disabled,
            )
            self._send(message, [sock.fileno()])

    def _refuse_adoption(self, uuid: DomainId, number: int) -> None:
        asyncio.get_running_loop().call_soon(
            self._listener.endpoint_closed, uuid, number, "the monitor cannot have it"
        )

    def close_channel(self, uuid: DomainId, number: int) -> None:
        """Close a channel's endpoint, if there is one; its votes end."""
        self._adoptions.pop((uuid, number), None)
        domain = self._records.number_of(uuid)
        if domain is None:
            return
        end = partial(self._records.withdraw, uuid, number)
        self._send(messages.CloseChannel(domain, number), undone=end)

    def switch_channel(self, uuid: DomainId, number: int, *, is_enabled: bool) -> None:
        """Obey a channel's requests or refuse them, also of endpoints to come."""
        if is_enabled:
            self._disabled.discard((uuid, number))
        else:
            self._disabled.add((uuid, number))
        domain = self._records.number_of(uuid)
        if domain is None:
            return
        end = None if is_enabled else partial(self._records.withdraw, uuid, number)
        self._send(messages.SwitchChannel(domain, number, is_enabled), undone=end)

    def withdraw_votes(
        self, uuid: DomainId, number: int | None, *, until_ns: int | None = None
    ) -> None:
        """End the votes that a channel made, or (None) all votes of the domain.

        Args:
            uuid: the domain.
            number: the channel.
            until_ns: time (monotonic); a channel that has brought anything later keeps
                its votes. None: they end in any case.
        """
        domain = self._records.number_of(uuid)
        if domain is None:
            return
        end = partial(self._records.withdraw, uuid, number)
        message = messages.WithdrawVotes(domain, number, until_ns)
        self._send(message, undone=end)

    def heard_ns(self, uuid: DomainId, number: int) -> int:
        """Return when (monotonic) a channel's guest last sent anything; 0: never.

        It is noted before what was sent is done, and never earlier than it was sent by
        more than a pass of the monitor's loop.
        """
        return self._records.heard_ns(uuid, number)

    def answer_policy(
        self, uuid: DomainId, number: int, ticket: int, *, is_accepted: bool
    ) -> None:
        """Say whether a guest's policy is installed; too late is no error."""
        domain = self._records.number_of(uuid)
        if domain is not None:
            answer = messages.AnswerPolicy(domain, number, ticket, is_accepted)
            self._send(answer)

    def snapshot(self) -> MonitorSnapshot:
        """Read the shared table: some microseconds per row, no wait for anybody."""
        return self._records.snapshot()

    def _send(
        self,
        message: Message,
        fds: Sequence[int] = (),
        undone: Callable[[], None] | None = None,
    ) -> None:
        """Tell the monitor.

        Args:
            message: what.
            fds: descriptors that go with it.
            undone: does it in the stead of a monitor that cannot, if need be.
        """
        if self._child.can_hear:
            self._unheard.tell(undone)
            self._child.send(message, fds)
        elif undone is not None:
            undone()

    # What the monitor tells

    def _hear(self, message: Message) -> None:
        match message:
            case messages.Ready():
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
            case messages.TakeWanted(group):
                self._listener.take_wanted(group)
            case messages.GroupYielded(group):
                self._listener.group_yielded(group)
            case messages.WriteRefused(group, errno):
                self._listener.write_refused(group, errno)
            case (
                messages.EndpointClosed()
                | messages.PolicySent()
                | messages.PolicyRemoved()
                | messages.RequestRefused()
            ):
                self._hear_of_channel(message)
            case _:
                raise HandoffError(f"the monitor said {message!r}")

    def _hear_of_channel(
        self,
        message: messages.EndpointClosed
        | messages.PolicySent
        | messages.PolicyRemoved
        | messages.RequestRefused,
    ) -> None:
        uuid = self._records.uuid_of(message.domain)
        number, listener = message.number, self._listener
        # An earlier endpoint of the same channel may have ended behind our back.
        if uuid is None or self._adoptions.get((uuid, number)) != message.adoption:
            return
        match message:
            case messages.EndpointClosed():
                del self._adoptions[uuid, number]
                listener.endpoint_closed(uuid, number, message.reason)
            case messages.PolicySent():
                packet = message.packet.encode("latin-1")
                listener.policy_sent(
                    uuid, number, message.ticket, message.generation, packet
                )
            case messages.PolicyRemoved():
                listener.policy_removed(uuid, number)
            case messages.RequestRefused():
                listener.request_refused(
                    uuid, number, message.reason, message.vcpu, message.unit
                )
