"""The exchange with guests: bytes in, votes and clocks, answers out.

Theory of operation: serving an endpoint takes what its guest has sent in one read, up
to a bound, lets the requests in it supersede each other, writes each clock that has
changed, and answers with the bytes that were received, because an ACK of a request is
the request. It answers at once, unless the loop has told it to gather the answers of
many guests.

There are three ways through serving, of which the first two do what the third would
do: one request with a plan (see `endpoint.Plan`), many of them, and everything else.

Source: docs/design.md, "Guest packet" and "Answers". DPDK's guest library gives up
waiting after 10 ms, and would take a later answer for that of its next request.
"""

from __future__ import annotations

import contextlib
from os import pwrite
from time import monotonic_ns
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    GENERATION_464,
    Answer,
    Command,
    encode_answer,
)
from orchestrator.monitor.clock import Clock, Stage
from orchestrator.monitor.endpoint import HeldAnswer
from orchestrator.monitor.policy_desk import PolicyDesk, Ticket
from orchestrator.monitor.table import (
    ACKS,
    DROPPED,
    ERRORS,
    GRANT,
    LATE,
    NACKS,
    VOTE,
    WAITING,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.monitor.claims import Claims
    from orchestrator.monitor.endpoint import Endpoint, Plan, PlanKey
    from orchestrator.monitor.messages import Message

SIZE = GENERATION_464.size_bytes
READ_BYTES = 141 * SIZE
"""The most that is read at once: whole packets, just below 64 KB. Serving so much takes
a third of a millisecond at worst, which is what one guest's flood can cost others."""
LATE_NS = 8_000_000
"""Age from which an answer is not given: the guest's patience of 10 ms, less what the
way back may take."""
IDLE_NS = 20_000_000
"""Age from which a part of a packet is dropped: a guest writes a packet whole."""
MAX_WAITING = 64
"""Answers that wait per channel; a guest that waits for its answers has one."""

_ANSWER_AT = GENERATION_464.answer_offset
_NACK = int(Answer.NACK)
_CPU_POWER = int(Command.CPU_POWER)
_CONNECT = int(Command.CONNECT)
_POLICY = int(Command.PKT_POLICY)
_POLICY_REMOVE = int(Command.PKT_POLICY_REMOVE)
_FIRST = (0,)

_Decision = Clock | Ticket | bool | None
"""True ACK, False NACK, None no answer; a clock or a ticket: what becomes of it."""
Broken = list[tuple["Endpoint", OSError]]
"""Endpoints whose sockets failed while answers were sent."""


class Exchange:
    """Serves endpoints and answers them.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        claims: Claims,
        words: memoryview[int],
        watch_writing: Callable[[Endpoint], None],
        report: Callable[[Message], None],
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._claims = claims
        self._words = words
        self._watch_writing = watch_writing
        self._policy_desk = PolicyDesk(report)
        self._now_ns = now_ns
        self.is_gathering = False
        """Whether answers to planned requests are kept for `send_gathered`."""
        self._outbox: list[tuple[Endpoint, bytes]] = []
        self._unpack = GENERATION_464.header.unpack
        self._iter_unpack = GENERATION_464.header.iter_unpack

    # Serving

    def serve(self, endpoint: Endpoint, polled_ns: int) -> None:
        """Take what a guest has sent, do it, and answer.

        Args:
            endpoint: whose socket is readable; once in a pass.
            polled_ns: time (monotonic) of the poll that said so.

        Raises:
            EOFError: the other side has hung up.
            OSError: the socket is broken.
        """
        try:
            data = endpoint.receive(READ_BYTES)
        except BlockingIOError:
            return
        if len(data) == SIZE and endpoint.is_quiet:
            plan = endpoint.plans.get(self._unpack(data))
            if plan is not None:
                if not self._follow(plan):
                    self._answer(endpoint, data, _FIRST, polled_ns)
                elif self.is_gathering:
                    self._outbox.append((endpoint, data))
                else:
                    self._acknowledge(endpoint, data, polled_ns)
                return
        self._serve_slowly(endpoint, data, polled_ns)

    def _follow(self, plan: Plan) -> bool:
        vcpu, vote_khz, clock, grant_khz, data = plan
        if vcpu.vote_khz != vote_khz:
            vcpu.vote_khz = vote_khz
            self._words[vcpu.index + VOTE] = vote_khz
        if clock.khz == grant_khz:
            return True
        try:
            pwrite(clock.write_fd, data, 0)
        except OSError as error:
            self._claims.refuse(clock, error.errno or -1)
            return False
        clock.khz = grant_khz
        self._words[clock.index + GRANT] = grant_khz
        return True

    def _serve_slowly(self, endpoint: Endpoint, data: bytes, polled_ns: int) -> None:
        if not data:
            raise EOFError
        packets = self._cut(endpoint, data, polled_ns)
        headers = list(self._iter_unpack(packets))
        plans = [endpoint.plans.get(header) for header in headers]
        if endpoint.held or not all(plans):
            self._consider(endpoint, packets, headers, polled_ns)
            return
        # Per clock only the last one counts.
        last = {plan.clock: plan for plan in plans if plan is not None}
        refused = {clock for clock, plan in last.items() if not self._follow(plan)}
        nacks = [
            i
            for i, plan in enumerate(plans)
            if refused and plan and plan.clock in refused
        ]
        self._answer(endpoint, packets, nacks, polled_ns)

    def _cut(self, endpoint: Endpoint, data: bytes, polled_ns: int) -> bytes:
        """Return the whole packets, with what was kept in front; keep the rest."""
        kept = endpoint.remainder
        if kept and polled_ns - endpoint.kept_ns >= IDLE_NS:
            self._words[endpoint.index + ERRORS] += 1
            kept = b""
        data = kept + data
        whole = len(data) - len(data) % SIZE
        endpoint.remainder = data[whole:]
        endpoint.kept_ns = polled_ns
        endpoint.look()
        return data[:whole]

    # The way of what has no plan

    def _consider(
        self,
        endpoint: Endpoint,
        packets: bytes,
        headers: Sequence[PlanKey],
        polled_ns: int,
    ) -> None:
        decisions = [
            self._decide(endpoint, header, packets, index * SIZE)
            for index, header in enumerate(headers)
        ]
        settled = {
            clock: self._claims.settle(clock)
            for clock in dict.fromkeys(decisions)
            if isinstance(clock, Clock) and clock.stage is Stage.TAKEN
        }
        outcomes = [settled.get(d, d) if isinstance(d, Clock) else d for d in decisions]
        if endpoint.held or any(isinstance(o, Clock | Ticket) for o in outcomes):
            self._hold(endpoint, packets, outcomes, polled_ns)
            return
        if None in outcomes:
            answered = [i for i, o in enumerate(outcomes) if o is not None]
            packets = b"".join(packets[i * SIZE : (i + 1) * SIZE] for i in answered)
            outcomes = [outcomes[i] for i in answered]
        nacks = [i for i, outcome in enumerate(outcomes) if outcome is False]
        self._answer(endpoint, packets, nacks, polled_ns)

    def _decide(
        self, endpoint: Endpoint, header: PlanKey, packets: bytes, start: int
    ) -> _Decision:
        number, unit, command, core_type = header
        domain = endpoint.domain
        is_obeyed = endpoint.is_enabled and domain.is_enforced
        if command == _POLICY:
            if core_type or not (is_obeyed and domain.may_send_policies):
                return False
            packet = packets[start : start + SIZE]
            ticket = self._policy_desk.submit(endpoint, packet, self._now_ns())
            return ticket or False
        if command == _CPU_POWER:
            vcpu = domain.vcpus.get(number)
            if vcpu is None or core_type or not is_obeyed:
                return False
            return self._claims.request(vcpu, unit, endpoint.number) or False
        if command == _CONNECT:
            # Nothing but the command may be looked at: the rest is stack garbage.
            vcpu = domain.vcpus.get(endpoint.number)
            if vcpu is not None and is_obeyed:
                self._claims.greet(vcpu, endpoint.number)
        elif command != _POLICY_REMOVE or not self._policy_desk.remove(
            endpoint, self._now_ns()
        ):
            self._words[endpoint.index + ERRORS] += 1
        return None

    # Answering

    def _acknowledge(self, endpoint: Endpoint, packet: bytes, polled_ns: int) -> None:
        """Do what `_answer` does, for one ACK."""
        if endpoint.unsent or self._now_ns() - polled_ns >= LATE_NS:
            self._answer(endpoint, packet, (), polled_ns)
            return
        try:
            sent = endpoint.send(packet)
        except BlockingIOError:
            sent = 0
        if sent == SIZE:
            self._words[endpoint.index + ACKS] += 1
        else:
            self._count(endpoint, packet, (), sent)

    def send_gathered(self, polled_ns: int) -> Broken:
        """Send the answers that were gathered.

        Args:
            polled_ns: time (monotonic) of the poll that delivered their requests.

        Returns:
            The endpoints that turned out to be broken.
        """
        broken: Broken = []
        words, is_late = self._words, self._now_ns() - polled_ns >= LATE_NS
        for endpoint, packet in self._outbox:
            try:
                if is_late or endpoint.unsent:
                    self._answer(endpoint, packet, (), polled_ns)
                    continue
                sent = endpoint.send(packet)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                broken.append((endpoint, error))
                continue
            if sent == SIZE:
                words[endpoint.index + ACKS] += 1
            else:
                self._count(endpoint, packet, (), sent)
        self._outbox.clear()
        return broken

    def _answer(
        self,
        endpoint: Endpoint,
        packets: bytes,
        nacks: Sequence[int],
        polled_ns: int,
    ) -> None:
        """Send back the packets that were received, as far as the socket takes them.

        Args:
            endpoint: whose requests they are.
            packets: whole packets.
            nacks: which of them are refused.
            polled_ns: time (monotonic) of the poll that delivered them.

        Raises:
            OSError: the socket is broken.
        """
        if self._now_ns() - polled_ns >= LATE_NS:
            self._words[endpoint.index + LATE] += len(packets) // SIZE
            return
        if nacks:
            packets = _refuse(packets, nacks)
        sent = 0
        if packets and (not endpoint.unsent or self.finish(endpoint)):
            with contextlib.suppress(BlockingIOError):
                sent = endpoint.send(packets)
        self._count(endpoint, packets, nacks, sent)

    def _count(
        self, endpoint: Endpoint, packets: bytes, nacks: Sequence[int], sent: int
    ) -> None:
        """Count answers of which `sent` bytes were sent; keep the rest of a cut one."""
        words, at = self._words, endpoint.index
        count = len(packets) // SIZE
        given = -(-sent // SIZE)
        refused = sum(index < given for index in nacks)
        words[at + NACKS] += refused
        words[at + ACKS] += given - refused
        words[at + DROPPED] += count - given
        rest = packets[sent : given * SIZE]
        if rest:
            endpoint.unsent = rest
            self._watch_writing(endpoint)

    def finish(self, endpoint: Endpoint) -> bool:
        """Send the rest of an answer that the socket took only a part of.

        Returns:
            Whether all of it is sent.

        Raises:
            OSError: the socket is broken.
        """
        with contextlib.suppress(BlockingIOError):
            endpoint.unsent = endpoint.unsent[endpoint.send(endpoint.unsent) :]
        if endpoint.unsent:
            return False
        self._watch_writing(endpoint)
        return True

    # Answers that wait

    def _hold(
        self,
        endpoint: Endpoint,
        packets: bytes,
        outcomes: Sequence[_Decision],
        polled_ns: int,
    ) -> None:
        for index, outcome in enumerate(outcomes):
            if outcome is None:
                continue
            if len(endpoint.held) >= MAX_WAITING:
                self._words[endpoint.index + DROPPED] += 1
                continue
            decider = None if isinstance(outcome, bool) else outcome
            if isinstance(decider, Clock):
                decider.waiting.add(endpoint)
            packet = packets[index * SIZE : (index + 1) * SIZE]
            if isinstance(decider, Ticket):
                packet = encode_answer(packet, Answer.ACK)  # of a request it is that
            held = HeldAnswer(packet, polled_ns, decider, is_ack=outcome is True)
            endpoint.held.append(held)
        self._release(endpoint)

    def release(self, clock: Clock) -> Broken:
        """Give the answers that waited for a clock group.

        Returns:
            The endpoints that turned out to be broken.
        """
        broken: Broken = []
        waiting = list(clock.waiting)
        clock.waiting.clear()
        for endpoint in waiting:
            try:
                self._release(endpoint)
            except OSError as error:
                broken.append((endpoint, error))
        return broken

    def answer_policy(
        self, endpoint: Endpoint, number: int, *, is_accepted: bool
    ) -> None:
        """Give the answer that waited for main's word about a policy.

        Raises:
            OSError: the socket is broken.
        """
        for held in endpoint.held:
            ticket = held.decider
            if isinstance(ticket, Ticket) and ticket.number == number:
                ticket.is_accepted = is_accepted
                self._release(endpoint)
                return

    def _release(self, endpoint: Endpoint) -> None:
        # In order: a guest pairs answers with its requests by nothing else.
        while endpoint.held:
            packet, polled_ns, decider, is_ack = endpoint.held[0]
            if decider is not None:
                outcome = self._ask(decider, polled_ns)
                if outcome is None:
                    break
                is_ack = outcome
            endpoint.held.popleft()
            nacks = () if is_ack else _FIRST
            self._answer(endpoint, packet, nacks, polled_ns)
        endpoint.look()
        self._words[endpoint.index + WAITING] = len(endpoint.held)

    def _ask(self, decider: Clock | Ticket, polled_ns: int) -> bool | None:
        """Return whether the answer is ACK; None: not yet decided."""
        if isinstance(decider, Clock):
            if decider.stage is Stage.WANTED:
                return None
            return decider.stage is Stage.TAKEN and not decider.refused_errno
        if decider.is_accepted is None and self._now_ns() - polled_ns >= LATE_NS:
            return False  # which is not sent: main's word must not hold up the others
        return decider.is_accepted


def _refuse(packets: bytes, nacks: Sequence[int]) -> bytes:
    refusing = bytearray(packets)
    for index in nacks:
        refusing[index * SIZE + _ANSWER_AT] = _NACK
    return bytes(refusing)
