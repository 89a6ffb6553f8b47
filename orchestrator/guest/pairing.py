"""Which answer belongs to which request: bytes in, pairs out.

Theory of operation: the wire has no sequence numbers, and a host's answers may be
missing, late, cut, coalesced, or meant for a program that had the port before us. But
the host gives back the bytes of a request that mean nothing to it: the padding at the
end of a packet (an answer is its echo), and what stands behind the zero of the name (a
reply to a query carries the asker's name field). Into these each request gets a mark
that no other has. So an answer is found by its mark, wherever in the stream it begins;
all else is dropped, and nothing can be taken for the answer to something else.

Source: DPDK's channel_monitor.c (an answer is the packet itself); the replies to
queries carry the name field where the host is vmpowerd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.channel.protocol import GENERATION_464
from orchestrator.guest.asks import TOKEN_BYTES

if TYPE_CHECKING:
    from orchestrator.guest.asks import Ask

SEED_BYTES = 3
"""The part of a mark that all requests of one conversation share; random."""
MOST_PENDING = 1024
"""Requests that are remembered; of more, the oldest are given up."""

_COUNTER_BYTES = TOKEN_BYTES - SEED_BYTES
_KEPT_BYTES = GENERATION_464.size_bytes - 1


class Pairing:
    """Marks requests, and finds their answers in a stream.

    Synchronization: one thread.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES or not any(seed):
            raise ValueError(f"a seed is {SEED_BYTES} bytes that are not all zero")
        self._seed = seed
        self._last = 0
        self._pending: dict[int, Ask[Any]] = {}
        self._stream = b""

    def mark(self, ask: Ask[Any]) -> tuple[int, bytes]:
        """Return a number for a request, and its packet with the mark of it."""
        self._last = (self._last + 1) % (1 << 8 * _COUNTER_BYTES)
        token = self._seed + self._last.to_bytes(_COUNTER_BYTES, "little")
        at = ask.token_at
        packet = ask.packet[:at] + token + ask.packet[at + TOKEN_BYTES :]
        self._pending[self._last] = ask
        if len(self._pending) > MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        return self._last, packet

    def give_up(self, number: int) -> None:
        """Stop waiting for an answer; if it comes after all, it is dropped."""
        self._pending.pop(number, None)

    def receive(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take a piece of the stream; return the answers that it completes.

        Returns:
            The numbers of their requests, and their bytes.
        """
        self._stream += data
        found: list[tuple[int, bytes]] = []
        at = self._stream.find(self._seed)
        while at >= 0:
            pair = self._look_at(at)
            if pair is None:
                at = self._stream.find(self._seed, at + 1)
                continue
            number, start, end = pair
            if end > len(self._stream):
                # Its rest is still to come. Nothing else can stand in it.
                self._stream = self._stream[start:]
                return found
            found.append((number, self._stream[start:end]))
            del self._pending[number]
            self._stream = self._stream[end:]
            at = self._stream.find(self._seed)
        self._stream = self._stream[-_KEPT_BYTES:]
        return found

    def forget(self) -> None:
        """Start anew with another host: nothing that was asked will be answered."""
        self._pending.clear()
        self._stream = b""

    def _look_at(self, at: int) -> tuple[int, int, int] | None:
        """Return the request whose mark may stand there, and its answer's extent."""
        counter = self._stream[at + SEED_BYTES : at + TOKEN_BYTES]
        if len(counter) < _COUNTER_BYTES:
            return None
        number = int.from_bytes(counter, "little")
        ask = self._pending.get(number)
        if ask is None or at < ask.token_at:
            return None
        start = at - ask.token_at
        return number, start, start + ask.reply_bytes
