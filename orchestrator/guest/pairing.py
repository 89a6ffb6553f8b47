# SPDX-License-Identifier: Apache-2.0
"""Matches answers to calls: bytes in, pairs out.

Theory of operation: the wire has no sequence numbers, and answers may be missing, late,
truncated, coalesced, or meant for a program that used the port before. But a host
returns the bytes of a packet that have no meaning for it: the padding at its end (an
answer is an echo of the packet), and what follows the zero of the name (a reply to a
query has the name field of the query). There each call puts a unique token. An answer
is found by its token, wherever in the stream it begins; everything else is discarded,
and no answer can be taken for that to another call.

Source: DPDK's channel_monitor.c (an answer is the packet itself); replies to queries
have the name field if the host is vmpowerd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.channel.protocol import GENERATION_464
from orchestrator.guest.calls import TOKEN_BYTES

if TYPE_CHECKING:
    from orchestrator.guest.calls import Call

SEED_BYTES = 3
"""Size of the random part of a token, the same for all calls of a connection."""
MAX_PENDING = 1024
"""Calls that wait for an answer; of more, the oldest are dropped."""

_COUNTER_BYTES = TOKEN_BYTES - SEED_BYTES
_KEPT_BYTES = GENERATION_464.size_bytes - 1


class Pairing:
    """Puts tokens into packets, and finds the answers in a stream.

    Synchronization: one thread.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES or not any(seed):
            raise ValueError(f"invalid seed: expected {SEED_BYTES} bytes, not all zero")
        self._seed = seed
        self._last = 0
        self._pending: dict[int, Call[Any]] = {}
        self._stream = b""

    def register(self, call: Call[Any]) -> tuple[int, bytes]:
        """Assign a number to a call; return it, and the packet with its token."""
        self._last = (self._last + 1) % (1 << 8 * _COUNTER_BYTES)
        token = self._seed + self._last.to_bytes(_COUNTER_BYTES, "little")
        at = call.token_at
        packet = call.packet[:at] + token + call.packet[at + TOKEN_BYTES :]
        self._pending[self._last] = call
        if len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        return self._last, packet

    def cancel(self, number: int) -> None:
        """Stop waiting for an answer; a late one is discarded."""
        self._pending.pop(number, None)

    def receive(self, data: bytes) -> list[tuple[int, bytes]]:
        """Process a part of the stream.

        Returns:
            The answers that it completes: numbers of the calls, and bytes.
        """
        self._stream += data
        found: list[tuple[int, bytes]] = []
        at = self._stream.find(self._seed)
        while at >= 0:
            pair = self._match_at(at)
            if pair is None:
                at = self._stream.find(self._seed, at + 1)
                continue
            number, start, end = pair
            if end > len(self._stream):
                # Incomplete; nothing else can be inside it.
                self._stream = self._stream[start:]
                return found
            found.append((number, self._stream[start:end]))
            del self._pending[number]
            self._stream = self._stream[end:]
            at = self._stream.find(self._seed)
        self._stream = self._stream[-_KEPT_BYTES:]
        return found

    def reset(self) -> None:
        """Drop all calls: the host is gone and will not answer them."""
        self._pending.clear()
        self._stream = b""

    def _match_at(self, at: int) -> tuple[int, int, int] | None:
        """Return the call whose token is at an offset, and the bounds of its answer."""
        counter = self._stream[at + SEED_BYTES : at + TOKEN_BYTES]
        if len(counter) < _COUNTER_BYTES:
            return None
        number = int.from_bytes(counter, "little")
        call = self._pending.get(number)
        if call is None or at < call.token_at:
            return None
        start = at - call.token_at
        return number, start, start + call.reply_bytes
