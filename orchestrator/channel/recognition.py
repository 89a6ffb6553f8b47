# SPDX-License-Identifier: Apache-2.0
"""Detects the generation of a guest's packets from the bytes that arrive.

Theory of operation: a guest writes each packet whole, so after a silence the stream
starts with a packet, and packets are cut only where we read too slowly. A generation
fits if the headers at its stride are plausible; if several fit, more headers and an
exact length decide. Where the guest may be waiting for an answer, nothing is delayed: a
header in 464 bytes decides at once, and so do two headers in a row for the others. A
single packet of 16, 456 or 460 bytes is recognized by the silence after it. The result
is only the first guess for what comes next, so a guest may change its generation, and a
wrong guess costs only the bytes that it was based on, never the channel.

Pure: no clock, no socket. Synchronization: the owner of the stream.

Source: DPDK's packet layouts, see `channel.protocol`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol import (
    GENERATION_16,
    GENERATION_456,
    GENERATION_460,
    GENERATION_464,
    Command,
)

if TYPE_CHECKING:
    from orchestrator.channel.protocol import Generation

MAX_UNKNOWN_BYTES = 2 * GENERATION_464.size_bytes
"""How much of an unrecognized stream is kept until a silence helps to explain it."""

MAX_PACKETS = 32
"""Packets that are taken from one piece at most, and headers that are checked. If a
piece has more, because its packets are shorter than assumed, the newest are taken: it
could have hundreds of requests, and all other guests would wait for them."""

_HEADER = Struct("<QLL")
_LARGEST_NUMBER = 0xFFFF
"""Of a CPU and of a unit; at a wrong stride the numbers are much larger."""
_COMMANDS = frozenset(map(int, Command))
_UNCHECKED = (int(Command.CONNECT), int(Command.PKT_POLICY))
"""Commands whose other fields may be uninitialized."""

_BY_LENGTH = (GENERATION_464, GENERATION_460, GENERATION_456)
"""In this order, because a shorter stride can be plausible by chance: the padding at
the end of a packet and the next one's low vCPU shift into a header. A longer stride
never is: it has the empty name of a request where the command should be."""
_BY_STRENGTH = (GENERATION_16, *_BY_LENGTH)
"""The shortest is plausible only if every 16 bytes are, and the other generations have
mostly zeros there."""


class Cut(NamedTuple):
    """Result of processing received bytes."""

    packets: bytes
    """Whole packets of the stream's generation."""
    is_lost: bool = False
    """Whether unrecognized bytes were dropped."""


class Stream:
    """The bytes of one channel, divided into packets."""

    __slots__ = ("generation", "is_configured", "rest")

    def __init__(self, generation: Generation | None = None) -> None:
        self.generation = generation
        """The detected or configured generation; None: not known yet."""
        self.is_configured = False
        """Whether the operator configured it; then nothing is detected."""
        self.rest = b""
        """Received bytes of an incomplete packet."""

    def configure(self, generation: Generation | None) -> None:
        """Use the generation that the operator configured; None: detect it."""
        self.is_configured = generation is not None
        self.generation = generation or self.generation

    def feed(self, data: bytes) -> Cut:
        """Process received bytes, which continue the rest of earlier ones."""
        data = self.rest + data
        if not self.is_configured:
            found = recognize(data, self.generation)
            if found is None and not _is_awaiting_answers(self.generation):
                return self._keep(data)
            self.generation = found or self.generation
        return self._split(data)

    def _keep(self, data: bytes) -> Cut:
        is_lost = len(data) > MAX_UNKNOWN_BYTES
        self.rest = b"" if is_lost else data
        return Cut(b"", is_lost)

    def _split(self, data: bytes) -> Cut:
        if self.generation is None:
            raise ValueError("the generation of the stream is not known")
        whole = len(data) - len(data) % self.generation.size_bytes
        self.rest = data[whole:]
        return _take_newest(data[:whole], self.generation)

    def settle(self) -> Cut:
        """Process the rest after a silence: a packet is never continued that late."""
        data, self.rest = self.rest, b""
        found = None if self.is_configured else _find_exact(data)
        if found is None:
            return Cut(b"", is_lost=bool(data))
        self.generation = found
        return _take_newest(data, found)


def recognize(data: bytes, known: Generation | None = None) -> Generation | None:
    """Detect the generation of bytes that start with a packet.

    Args:
        data: everything received since the last whole packet.
        known: the generation so far.

    Returns:
        None: a silence has to decide, or no generation fits.
    """
    if len(data) >= 2 * GENERATION_16.size_bytes and _count(data, GENERATION_16):
        return GENERATION_16
    is_known_good = known is not None and bool(_count(data, known))
    is_known_exact = known is not None and not len(data) % known.size_bytes
    for guess in _BY_LENGTH:
        if guess is known and is_known_good:
            return known
        is_exact = not len(data) % guess.size_bytes
        if is_known_good and (is_known_exact or not is_exact):
            continue  # no better than the known one
        count = _count(data, guess)
        if count > 1 or (count and _is_decisive(data, guess)):
            return guess
        if count and is_known_good:
            return None  # as good: one packet of this length, or one and a part
    return known if is_known_good else None


def _take_newest(packets: bytes, generation: Generation) -> Cut:
    most = MAX_PACKETS * generation.size_bytes
    return Cut(packets[-most:], is_lost=len(packets) > most)


def _is_decisive(data: bytes, guess: Generation) -> bool:
    return guess is GENERATION_464 and len(data) >= guess.size_bytes


def _is_awaiting_answers(generation: Generation | None) -> bool:
    return generation is not None and generation.is_answered


def _find_exact(data: bytes) -> Generation | None:
    for guess in _BY_STRENGTH:
        if data and not len(data) % guess.size_bytes and _count(data, guess):
            return guess
    return None


def _count(data: bytes, guess: Generation) -> int:
    """Count the headers at a stride; 0 if one of them is implausible."""
    count, stride = 0, guess.size_bytes
    end = min(len(data) - _HEADER.size + 1, MAX_PACKETS * stride)
    for offset in range(0, end, stride):
        number, unit, command = _HEADER.unpack_from(data, offset)
        if command not in _COMMANDS:
            return 0
        # The first one is certainly a header, whatever the guest wrote there.
        is_implausible = number > _LARGEST_NUMBER or unit > _LARGEST_NUMBER
        if offset and is_implausible and command not in _UNCHECKED:
            return 0
        count += 1
    return count
