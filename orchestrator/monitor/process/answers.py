# SPDX-License-Identifier: Apache-2.0
"""Answers: sent at once, gathered, or held until their outcome is known.

The answers of a channel are sent in the order of their requests, because a guest has no
other way to match them. A late answer is worse than none, and so is half of one. The
latency of each answer is counted: from the poll that delivered its request until it is
passed to the kernel.

Source: docs/design.md, "Answers". DPDK's guest library stops waiting after 10 ms, and
would take a later answer for that of its next request.
"""

from __future__ import annotations

import contextlib
from itertools import groupby
from time import monotonic_ns
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import GENERATION_464, Answer
from orchestrator.monitor.link.table import (
    ACKS,
    DROPPED,
    LATE,
    LATENCY_AT,
    LATENCY_SUM_AT,
    LATENCY_UNIT_BITS,
    NACKS,
    WAITING,
    count_refusals,
    latency_at,
)
from orchestrator.monitor.process.allowance import Ticket
from orchestrator.monitor.process.clock import Clock, CoreClocks, Stage
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orchestrator.monitor.process.endpoint import Endpoint, HeldAnswer

SIZE = GENERATION_464.size_bytes
"""Size of the answers of the fast path."""
LATE_NS = 8_000_000
"""Age from which an answer is dropped: the guest's timeout of 10 ms, less the time of
delivery."""
MAX_WAITING = 64
"""Waiting answers per channel; a guest that waits for its answers has one."""

_ANSWER_AT = GENERATION_464.answer_offset
_NACK = int(Answer.NACK)

BrokenEndpoints = list[tuple["Endpoint", OSError]]
"""Endpoints whose sockets failed while sending answers."""


def make_nacks(
    packets: bytes, indices: Iterable[int] = (0,), size: int = SIZE
) -> bytes:
    """Return the answers, each of `size` bytes, with some of them turned into NACKs."""
    refusing = bytearray(packets)
    for index in indices:
        refusing[index * size + _ANSWER_AT] = _NACK
    return bytes(refusing)


class AnswerSender:
    """Sends answers and counts their outcomes.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        words: memoryview[int],
        rearm: Callable[[Endpoint], None],
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._words = words
        self._rearm = rearm
        self._now_ns = now_ns
        self._outbox: list[tuple[Endpoint, bytes]] = []
        self._waiting: dict[Clock, set[Endpoint]] = {}
        """Endpoints with answers that wait for a clock group."""

    def acknowledge(self, endpoint: Endpoint, packet: bytes, polled_ns: int) -> None:
        """Do the same as `send`, for the ACK of one request of 464 bytes."""
        age_ns = self._now_ns() - polled_ns
        if endpoint.unsent or age_ns >= LATE_NS:
            self.send(endpoint, packet, (), polled_ns)
            return
        try:
            sent = endpoint.send(packet)
        except BlockingIOError:
            sent = 0
        if sent == SIZE:
            words = self._words
            words[endpoint.index + ACKS] += 1
            words[LATENCY_AT + (age_ns >> LATENCY_UNIT_BITS).bit_length()] += 1
            words[LATENCY_SUM_AT] += age_ns
        else:
            given = self._count(endpoint, packet, (), sent, SIZE)
            self._count_latency(age_ns, given)

    def gather(self, endpoint: Endpoint, packet: bytes) -> None:
        """Keep the ACK of one request of 464 bytes for `send_gathered`."""
        self._outbox.append((endpoint, packet))

    def send_gathered(self, polled_ns: int) -> BrokenEndpoints:
        """Send the gathered answers.

        Args:
            polled_ns: time (monotonic) of the poll that delivered their requests.

        Returns:
            The endpoints whose sockets failed.
        """
        broken: BrokenEndpoints = []
        words, age_ns, whole = self._words, self._now_ns() - polled_ns, 0
        is_late = age_ns >= LATE_NS
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
                whole += 1
            else:
                given = self._count(endpoint, packet, (), sent, SIZE)
                self._count_latency(age_ns, given)
        if whole:
            self._count_latency(age_ns, whole)
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
        """Send answers of one size, as far as the socket accepts them.

        Args:
            endpoint: whose requests they answer.
            data: the answers, ready to be sent.
            nacks: indices of those that are NACKs.
            polled_ns: time (monotonic) of the poll that delivered their requests.
            size: bytes of each.

        Raises:
            OSError: the socket failed.
        """
        age_ns = self._now_ns() - polled_ns
        if age_ns >= LATE_NS:
            self._words[endpoint.index + LATE] += len(data) // size
            return
        sent = 0
        if data and (not endpoint.unsent or self.flush(endpoint)):
            with contextlib.suppress(BlockingIOError):
                sent = endpoint.send(data)
        given = self._count(endpoint, data, nacks, sent, size)
        self._count_latency(age_ns, given)

    def _count_latency(self, latency_ns: int, answers: int) -> None:
        self._words[latency_at(latency_ns)] += answers
        self._words[LATENCY_SUM_AT] += latency_ns * answers

    def _count(
        self,
        endpoint: Endpoint,
        data: bytes,
        nacks: Sequence[int],
        sent: int,
        size: int,
    ) -> int:
        """Count answers of which `sent` bytes were sent; keep the rest of a cut one.

        Returns:
            How many were sent, the cut one included.
        """
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
            self._rearm(endpoint)
        return given

    def flush(self, endpoint: Endpoint) -> bool:
        """Send the rest of a partially sent answer.

        Returns:
            Whether all of it has been sent.

        Raises:
            OSError: the socket failed.
        """
        with contextlib.suppress(BlockingIOError):
            endpoint.unsent = endpoint.unsent[endpoint.send(endpoint.unsent) :]
        if endpoint.unsent:
            return False
        self._rearm(endpoint)
        return True

    # Answers that wait

    def send_in_order(
        self, endpoint: Endpoint, answers: Sequence[HeldAnswer], polled_ns: int
    ) -> None:
        """Send answers in order, or hold them if one of them must wait.

        Args:
            endpoint: whose requests they answer.
            answers: one for each request that is answered.
            polled_ns: time (monotonic) of the poll that delivered the requests.

        Raises:
            OSError: the socket failed.
        """
        if endpoint.held or any(answer.waits_for is not None for answer in answers):
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
            for clock in _clocks_of(answer.waits_for):
                self._waiting.setdefault(clock, set()).add(endpoint)
            endpoint.held.append(answer)
        self._send_held(endpoint)

    def send_waiting(self, clock: Clock) -> BrokenEndpoints:
        """Send the answers that waited for a clock group.

        Returns:
            The endpoints whose sockets failed.
        """
        broken: BrokenEndpoints = []
        for endpoint in self._waiting.pop(clock, ()):
            try:
                self._send_held(endpoint)
            except OSError as error:
                broken.append((endpoint, error))
        return broken

    def answer_policy(
        self, endpoint: Endpoint, number: int, *, is_accepted: bool
    ) -> None:
        """Send the answer that waited for main to install a policy.

        Raises:
            OSError: the socket failed.
        """
        for held in endpoint.held:
            ticket = held.waits_for
            if isinstance(ticket, Ticket) and ticket.number == number:
                ticket.is_accepted = is_accepted
                self._send_held(endpoint)
                return

    def _send_held(self, endpoint: Endpoint) -> None:
        while endpoint.held:
            data, polled_ns, waits_for, is_ack = endpoint.held[0]
            if waits_for is not None:
                refusal = self._find_outcome(waits_for, polled_ns)
                if refusal is None:
                    break
                if isinstance(refusal, Refusal):
                    count_refusals(
                        self._words, endpoint.index, refusal, 1, self._now_ns()
                    )
                    data, is_ack = make_nacks(data), False
            endpoint.held.popleft()
            self.send(endpoint, data, () if is_ack else (0,), polled_ns, len(data))
        endpoint.refresh()
        self._words[endpoint.index + WAITING] = len(endpoint.held)

    def _find_outcome(
        self, waits_for: Clock | CoreClocks | Ticket, polled_ns: int
    ) -> Refusal | bool | None:
        """Return True or the refusal; None: not known yet."""
        if isinstance(waits_for, Clock | CoreClocks):
            return (
                None
                if waits_for.stage is Stage.WANTED
                else find_refusal(waits_for) or True
            )
        if waits_for.is_accepted is None:
            # A late answer is dropped, and must not hold up the next ones.
            return self._now_ns() - polled_ns >= LATE_NS or None
        return waits_for.is_accepted or Refusal.POLICY_REFUSED


def _clocks_of(waits_for: Clock | CoreClocks | Ticket | None) -> tuple[Clock, ...]:
    """Return the clock groups that are to be taken before an answer can be sent."""
    if isinstance(waits_for, CoreClocks):
        return tuple(c for c in waits_for.clocks if c.stage is Stage.WANTED)
    return (waits_for,) if isinstance(waits_for, Clock) else ()


def find_refusal(clock: Clock | CoreClocks) -> Refusal | None:
    """Return why a clock group does not follow its votes; None: it does."""
    if clock.stage is not Stage.TAKEN:
        return Refusal.CLAIM
    return Refusal.KERNEL if clock.refused_errno else None
