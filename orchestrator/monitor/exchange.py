"""The exchange with one guest: bytes in, votes and clocks, answers out.

Theory of operation: whatever a guest has sent is taken in one read, up to a bound, and
is answered by one write: an answer is the request's own bytes, of which at most one
changes, so the buffer that was read is sent back. Requests of one read supersede each
other before the clock is written, and each still has its answer.

There are three ways through, the first two of which do nothing but what the third
would do: one request with a plan (see `endpoint.Plan`), many of them, and everything
else. An endpoint with something under way takes the third.

Source: DESIGN §3-5 of docs/design.md; DPDK's guest library gives up waiting after
10 ms and would take a later answer for that of its next request.
"""

from __future__ import annotations

import os
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
from orchestrator.monitor.table import (
    ACKS,
    DROPPED,
    ERRORS,
    GRANT,
    LATE,
    NACKS,
    REQUESTS,
    VOTE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.monitor.claims import Claims
    from orchestrator.monitor.endpoint import Endpoint, Plan, PlanKey

SIZE = GENERATION_464.size_bytes
BUFFER_BYTES = 141 * SIZE
"""The most that is read at once: whole packets, just below 64 KB. A read of it is
served within half a millisecond, which is what one guest's flood can cost others."""
LATE_NS = 8_000_000
"""Age from which an answer is not given: the guest's patience of 10 ms, less what the
way back may take."""
IDLE_NS = 20_000_000
"""Age from which a part of a packet is dropped: a guest writes a packet whole."""
MAX_HELD = 64
"""Answers that wait per channel; a guest that waits for its answers has one."""

_ANSWER_AT = GENERATION_464.answer_offset
_NACK = int(Answer.NACK)
_CPU_POWER = int(Command.CPU_POWER)
_CONNECT = int(Command.CONNECT)

_Decision = Clock | bool | None
"""True ACK, False NACK, None no answer; a clock: whatever becomes of it."""


class Exchange:
    """Serves endpoints; owns the one buffer that all of them are read into.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        claims: Claims,
        words: memoryview[int],
        watch_writing: Callable[[Endpoint], None],
    ) -> None:
        self._claims = claims
        self._words = words
        self._watch_writing = watch_writing
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._packet = self._view[:SIZE]
        self._unpack = GENERATION_464.header.unpack_from
        self._iter_unpack = GENERATION_464.header.iter_unpack

    def serve(self, endpoint: Endpoint, polled_ns: int) -> None:
        """Take what a guest has sent and answer it.

        Args:
            endpoint: whose socket is readable.
            polled_ns: time (monotonic) of the poll that said so.

        Raises:
            EOFError: the other side has hung up.
            OSError: the socket is broken.
        """
        if not endpoint.is_quiet:
            self._serve_disquieted(endpoint, polled_ns)
            return
        try:
            count = endpoint.receive(self._buffer)
        except BlockingIOError:
            return
        if count != SIZE:
            self._serve_many(endpoint, count, polled_ns)
            return
        plan = endpoint.plans.get(self._unpack(self._buffer))
        if plan is None:
            self._consider(endpoint, count, polled_ns)
            return
        self._words[endpoint.index + REQUESTS] += 1
        if self._follow(plan):
            self._answer(endpoint, self._packet, (), polled_ns)
        else:
            self._buffer[_ANSWER_AT] = _NACK
            self._answer(endpoint, self._packet, (0,), polled_ns)

    def finish(self, endpoint: Endpoint) -> bool:
        """Send the rest of an answer that the socket took only a part of.

        Returns:
            Whether all of it is sent.

        Raises:
            OSError: the socket is broken.
        """
        try:
            sent = endpoint.send(endpoint.unsent)
        except BlockingIOError:
            return False
        endpoint.unsent = endpoint.unsent[sent:]
        if endpoint.unsent:
            return False
        endpoint.look()
        self._watch_writing(endpoint)
        return True

    def release(self, clock: Clock) -> list[tuple[Endpoint, OSError]]:
        """Give the answers that waited for a clock group.

        Returns:
            The endpoints that turned out to be broken.
        """
        broken: list[tuple[Endpoint, OSError]] = []
        waiting = list(clock.waiting)
        clock.waiting.clear()
        for endpoint in waiting:
            try:
                self._release(endpoint)
            except OSError as error:
                broken.append((endpoint, error))
        return broken

    # The way of requests with a plan

    def _serve_many(self, endpoint: Endpoint, count: int, polled_ns: int) -> None:
        if count == 0:
            raise EOFError
        whole = count - count % SIZE
        if whole != count:
            self._keep(endpoint, whole, count, polled_ns)
        plans = list(map(endpoint.plans.get, self._iter_unpack(self._view[:whole])))
        if not (endpoint.is_quiet and all(plans)):
            self._consider(endpoint, whole, polled_ns)
            return
        # Per clock only the last one counts.
        last = {plan.clock: plan for plan in plans if plan is not None}
        refused = {plan.clock for plan in last.values() if not self._follow(plan)}
        nacks = [i for i, plan in enumerate(plans) if plan and plan.clock in refused]
        self._words[endpoint.index + REQUESTS] += len(plans)
        self._refuse(nacks)
        self._answer(endpoint, self._view[:whole], nacks, polled_ns)

    def _follow(self, plan: Plan) -> bool:
        vcpu, vote_khz, clock, grant_khz, data = plan
        if vcpu.vote_khz != vote_khz:
            vcpu.vote_khz = vote_khz
            self._words[vcpu.index + VOTE] = vote_khz
        if clock.khz == grant_khz:
            return True
        try:
            os.pwrite(clock.write_fd, data, 0)
        except OSError as error:
            self._claims.refuse(clock, error.errno or -1)
            return False
        clock.khz = grant_khz
        self._words[clock.index + GRANT] = grant_khz
        return True

    # The way of everything else

    def _serve_disquieted(self, endpoint: Endpoint, polled_ns: int) -> None:
        kept = endpoint.remainder
        if kept and polled_ns - endpoint.kept_ns >= IDLE_NS:
            self._words[endpoint.index + ERRORS] += 1
            kept = b""
        self._view[: len(kept)] = kept
        try:
            count = endpoint.receive(self._view[len(kept) :])
        except BlockingIOError:
            return
        if count == 0:
            raise EOFError
        count += len(kept)
        whole = count - count % SIZE
        self._keep(endpoint, whole, count, polled_ns)
        self._consider(endpoint, whole, polled_ns)

    def _keep(self, endpoint: Endpoint, start: int, end: int, polled_ns: int) -> None:
        endpoint.remainder = bytes(self._view[start:end])
        endpoint.kept_ns = polled_ns
        endpoint.look()

    def _consider(self, endpoint: Endpoint, whole: int, polled_ns: int) -> None:
        if not whole:
            return
        packets = self._iter_unpack(self._view[:whole])
        decisions = [self._decide(endpoint, header) for header in packets]
        settled = {
            clock: self._claims.settle(clock)
            for clock in dict.fromkeys(decisions)
            if isinstance(clock, Clock) and clock.stage is Stage.TAKEN
        }
        outcomes = [settled.get(d, d) if isinstance(d, Clock) else d for d in decisions]
        if endpoint.held or any(isinstance(o, Clock) for o in outcomes):
            self._hold(endpoint, outcomes, polled_ns)
            return
        nacks = [i for i, outcome in enumerate(outcomes) if outcome is False]
        self._refuse(nacks)
        if None not in outcomes:
            self._answer(endpoint, self._view[:whole], nacks, polled_ns)
            return
        answers = [i for i, outcome in enumerate(outcomes) if outcome is not None]
        data = b"".join(self._view[i * SIZE : (i + 1) * SIZE] for i in answers)
        nacks = [i for i, at in enumerate(answers) if outcomes[at] is False]
        self._answer(endpoint, data, nacks, polled_ns)

    def _decide(self, endpoint: Endpoint, header: PlanKey) -> _Decision:
        number, unit, command, core_type = header
        vcpus = endpoint.domain.vcpus
        is_obeyed = endpoint.is_enabled and endpoint.domain.is_enforced
        if command == _CPU_POWER:
            self._words[endpoint.index + REQUESTS] += 1
            vcpu = vcpus.get(number)
            if vcpu is None or core_type or not is_obeyed:
                return False
            return self._claims.request(vcpu, unit, endpoint.number) or False
        if command != _CONNECT:
            self._words[endpoint.index + ERRORS] += 1
            return None
        # Nothing but the command may be looked at: the rest is stack garbage.
        vcpu = vcpus.get(endpoint.number)
        if vcpu is not None and is_obeyed:
            self._claims.greet(vcpu, endpoint.number)
        return None

    # Answers

    def _refuse(self, nacks: Sequence[int]) -> None:
        for index in nacks:
            self._buffer[index * SIZE + _ANSWER_AT] = _NACK

    def _answer(
        self,
        endpoint: Endpoint,
        data: memoryview | bytes,
        nacks: Sequence[int],
        polled_ns: int,
    ) -> None:
        """Send answers as far as the socket takes them, and count each kind."""
        words, at = self._words, endpoint.index
        count = len(data) // SIZE
        if monotonic_ns() - polled_ns >= LATE_NS:
            words[at + LATE] += count
            return
        sent = self._send(endpoint, data)
        given = count
        if sent != len(data):
            given = -(-sent // SIZE)
            words[at + DROPPED] += count - given
            self._keep_cut(endpoint, data[sent : given * SIZE])
        refused = sum(index < given for index in nacks) if nacks else 0
        words[at + NACKS] += refused
        words[at + ACKS] += given - refused

    def _send(self, endpoint: Endpoint, data: memoryview | bytes) -> int:
        if endpoint.unsent and not self.finish(endpoint):
            return 0
        try:
            return endpoint.send(data)
        except BlockingIOError:
            return 0

    def _keep_cut(self, endpoint: Endpoint, rest: memoryview | bytes) -> None:
        if rest:
            endpoint.unsent = bytes(rest)
            endpoint.look()
            self._watch_writing(endpoint)

    # Answers that wait

    def _hold(
        self, endpoint: Endpoint, outcomes: Sequence[_Decision], polled_ns: int
    ) -> None:
        for index, outcome in enumerate(outcomes):
            if outcome is None:
                continue
            if len(endpoint.held) >= MAX_HELD:
                self._words[endpoint.index + DROPPED] += 1
                continue
            clock = outcome if isinstance(outcome, Clock) else None
            if clock is not None:
                clock.waiting.add(endpoint)
            packet = bytes(self._view[index * SIZE : (index + 1) * SIZE])
            held = HeldAnswer(packet, polled_ns, clock, is_ack=outcome is True)
            endpoint.held.append(held)
        endpoint.look()
        self._release(endpoint)

    def _release(self, endpoint: Endpoint) -> None:
        # In order: a guest pairs answers with its requests by nothing else.
        while endpoint.held:
            packet, polled_ns, clock, is_ack = endpoint.held[0]
            if clock is not None:
                if clock.stage is Stage.WANTED:
                    break
                is_ack = clock.stage is Stage.TAKEN and not clock.refused_errno
            endpoint.held.popleft()
            if is_ack:
                self._answer(endpoint, packet, (), polled_ns)
            else:
                refusal = encode_answer(packet, Answer.NACK)
                self._answer(endpoint, refusal, (0,), polled_ns)
        endpoint.look()
