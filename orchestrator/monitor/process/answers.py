"""Answers: given at once, gathered, or held until what decides them has decided.

The answers of one channel keep the order of their requests, because a guest pairs them
by nothing else. One that comes late is worse than none, and so is half of one.

Source: docs/design.md, "Answers". DPDK's guest library gives up waiting after 10 ms,
and would take a later answer for that of its next request.
"""

from __future__ import annotations

import contextlib
from itertools import groupby
from time import monotonic_ns
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import GENERATION_464, Answer
from orchestrator.monitor.link.table import ACKS, DROPPED, LATE, NACKS, REASONS, WAITING
from orchestrator.monitor.process.allowance import Ticket
from orchestrator.monitor.process.clock import Clock, Stage
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orchestrator.monitor.process.endpoint import Endpoint, HeldAnswer

SIZE = GENERATION_464.size_bytes
"""Of the answers that need no thought."""
LATE_NS = 8_000_000
"""Age from which an answer is not given: the guest's patience of 10 ms, less what the
way back may take."""
MAX_WAITING = 64
"""Answers that wait per channel; a guest that waits for its answers has one."""

_ANSWER_AT = GENERATION_464.answer_offset
_NACK = int(Answer.NACK)

Broken = list[tuple["Endpoint", OSError]]
"""Endpoints whose sockets failed while answers were sent."""


def refuse(packets: bytes, indices: Iterable[int] = (0,), size: int = SIZE) -> bytes:
    """Make refusals of some of the echoes of `size` bytes."""
    refusing = bytearray(packets)
    for index in indices:
        refusing[index * size + _ANSWER_AT] = _NACK
    return bytes(refusing)


class Answers:
    """Sends answers and counts what becomes of them.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        words: memoryview[int],
        watch: Callable[[Endpoint], None],
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._words = words
        self._watch = watch
        self._now_ns = now_ns
        self._outbox: list[tuple[Endpoint, bytes]] = []
        self._waiting: dict[Clock, set[Endpoint]] = {}
        """Endpoints with answers that wait for a clock group."""

    def acknowledge(self, endpoint: Endpoint, packet: bytes, polled_ns: int) -> None:
        """Do what `send` does, for the echo of one request of 464 bytes."""
        if endpoint.unsent or self._now_ns() - polled_ns >= LATE_NS:
            self.send(endpoint, packet, (), polled_ns)
            return
        try:
            sent = endpoint.send(packet)
        except BlockingIOError:
            sent = 0
        if sent == SIZE:
            self._words[endpoint.index + ACKS] += 1
        else:
            self._count(endpoint, packet, (), sent, SIZE)

    def gather(self, endpoint: Endpoint, packet: bytes) -> None:
        """Keep the echo of one request of 464 bytes for `send_gathered`."""
        self._outbox.append((endpoint, packet))

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
                    self.send(endpoint, packet, (), polled_ns)
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
                self._count(endpoint, packet, (), sent, SIZE)
        self._outbox.clear()
        return broken

    def send(
        self,
        endpoint: Endpoint,
        data: bytes,
        nacks: Sequence[int],
        polled_ns: int,
        size: int = SIZE,
    ) -> None:
        """Send answers of one size, as far as the socket takes them.

        Args:
            endpoint: whose requests they answer.
            data: the answers, ready to be sent.
            nacks: which of them are refusals.
            polled_ns: time (monotonic) of the poll that delivered their requests.
            size: bytes of each.

        Raises:
            OSError: the socket is broken.
        """
        if self._now_ns() - polled_ns >= LATE_NS:
            self._words[endpoint.index + LATE] += len(data) // size
            return
        sent = 0
        if data and (not endpoint.unsent or self.finish(endpoint)):
            with contextlib.suppress(BlockingIOError):
                sent = endpoint.send(data)
        self._count(endpoint, data, nacks, sent, size)

    def _count(
        self,
        endpoint: Endpoint,
        data: bytes,
        nacks: Sequence[int],
        sent: int,
        size: int,
    ) -> None:
        """Count answers of which `sent` bytes were sent; keep the rest of a cut one."""
        words, at = self._words, endpoint.index
        count = len(data) // size
        given = -(-sent // size)
        refused = sum(index < given for index in nacks)
        words[at + NACKS] += refused
        words[at + ACKS] += given - refused
        words[at + DROPPED] += count - given
        rest = data[sent : given * size]
        if rest:
            endpoint.unsent = rest
            self._watch(endpoint)

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
        self._watch(endpoint)
        return True

    # Answers that wait

    def give(
        self, endpoint: Endpoint, answers: Sequence[HeldAnswer], polled_ns: int
    ) -> None:
        """Send answers in their order, or hold them if one of them must wait.

        Args:
            endpoint: whose requests they answer.
            answers: one for each request that is answered.
            polled_ns: time (monotonic) of the poll that delivered the requests.

        Raises:
            OSError: the socket is broken.
        """
        if endpoint.held or any(answer.decider is not None for answer in answers):
            self._hold(endpoint, answers)
            return
        for size, run in groupby(answers, lambda answer: len(answer.data)):
            alike = list(run)
            data = b"".join(answer.data for answer in alike)
            nacks = [i for i, answer in enumerate(alike) if not answer.is_ack]
            self.send(endpoint, data, nacks, polled_ns, size)

    def _hold(self, endpoint: Endpoint, answers: Sequence[HeldAnswer]) -> None:
        for answer in answers:
            if len(endpoint.held) >= MAX_WAITING:
                self._words[endpoint.index + DROPPED] += 1
                continue
            if isinstance(answer.decider, Clock):
                self._waiting.setdefault(answer.decider, set()).add(endpoint)
            endpoint.held.append(answer)
        self._release(endpoint)

    def release(self, clock: Clock) -> Broken:
        """Give the answers that waited for a clock group.

        Returns:
            The endpoints that turned out to be broken.
        """
        broken: Broken = []
        for endpoint in self._waiting.pop(clock, ()):
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
        while endpoint.held:
            data, polled_ns, decider, is_ack = endpoint.held[0]
            if decider is not None:
                refusal = self._ask(decider, polled_ns)
                if refusal is None:
                    break
                if isinstance(refusal, Refusal):
                    self._words[endpoint.index + REASONS + refusal] += 1
                    data, is_ack = refuse(data), False
            endpoint.held.popleft()
            self.send(endpoint, data, () if is_ack else (0,), polled_ns, len(data))
        endpoint.refresh()
        self._words[endpoint.index + WAITING] = len(endpoint.held)

    def _ask(self, decider: Clock | Ticket, polled_ns: int) -> Refusal | bool | None:
        """Return True, or why not; None: it is not decided yet."""
        if isinstance(decider, Clock):
            return None if decider.stage is Stage.WANTED else explain(decider) or True
        if decider.is_accepted is None:
            # Later it is not sent, and must not hold up those behind it.
            return self._now_ns() - polled_ns >= LATE_NS or None
        return decider.is_accepted or Refusal.POLICY_REFUSED


def explain(clock: Clock) -> Refusal | None:
    """Say why a clock does not follow its votes; None: it does."""
    if clock.stage is not Stage.TAKEN:
        return Refusal.CLAIM
    return Refusal.KERNEL if clock.refused_errno else None
