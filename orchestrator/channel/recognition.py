"""Which generation of packets a guest speaks, found out from what arrives.

Theory of operation: a guest writes each packet whole, so what arrives after a silence
begins with a packet, and pieces are cut only where we read too slowly. A guess is made
from the headers that its stride would give: they must make sense, and where several
strides make sense, more headers and an exact fit decide. Nothing is waited for that a
guest could wait for: a header in 464 bytes decides at once, as two in a row do for the
others; a single packet of 16, 456 or 460 bytes is known by the silence behind it. What
was recognised is only the first guess for what comes next, so a guest may change, and a
wrong guess costs what it was made of, never the channel.

Pure: no clock, no socket. Synchronization: whoever owns the stream.

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

MOST_UNKNOWN_BYTES = 2 * GENERATION_464.size_bytes
"""So much of a stream in which nothing makes sense is kept for a silence to explain."""

MOST_PACKETS = 32
"""Packets that a piece is worth at most, and headers that are looked at. Where a piece
has more, because its packets turn out to be shorter than was thought, the newest count:
a guest could send hundreds of requests in it, and all others would wait for them."""

_HEADER = Struct("<QLL")
_LARGEST_NUMBER = 0xFFFF
"""Of a CPU, and of a unit: strides that are wrong make much larger ones."""
_COMMANDS = frozenset(map(int, Command))
_ANYTHING_GOES = (int(Command.CONNECT), int(Command.PKT_POLICY))
"""Commands whose other fields may be stack garbage."""

_BY_LENGTH = (GENERATION_464, GENERATION_460, GENERATION_456)
"""In this order, because a shorter stride can make sense by chance: the padding at a
packet's end and the next one's low vCPU shift into a header. A longer one never does:
it puts the empty name of a request where its command should be."""
_BY_STRENGTH = (GENERATION_16, *_BY_LENGTH)
"""The shortest makes sense only if every 16 bytes do, of which others are mostly
zeros."""


class Cut(NamedTuple):
    """What became of received bytes."""

    packets: bytes
    """Whole packets of the stream's generation."""
    is_lost: bool = False
    """Whether bytes were dropped that nothing explains."""


class Stream:
    """The bytes of one channel, cut into packets."""

    __slots__ = ("generation", "is_given", "rest")

    def __init__(self, generation: Generation | None = None) -> None:
        self.generation = generation
        """What its guest is taken to speak; None: not known yet."""
        self.is_given = False
        """Whether an operator said so; then nothing is guessed."""
        self.rest = b""
        """Received bytes that are no whole packet yet."""

    def give(self, generation: Generation | None) -> None:
        """Take an operator's word; None: guess from now on."""
        self.is_given = generation is not None
        self.generation = generation or self.generation

    def feed(self, data: bytes) -> Cut:
        """Take what was received; it continues what is left of earlier pieces."""
        data = self.rest + data
        if not self.is_given:
            found = recognise(data, self.generation)
            if found is None and not _is_awaiting_answers(self.generation):
                return self._keep(data)
            self.generation = found or self.generation
        return self._split(data)

    def _keep(self, data: bytes) -> Cut:
        is_lost = len(data) > MOST_UNKNOWN_BYTES
        self.rest = b"" if is_lost else data
        return Cut(b"", is_lost)

    def _split(self, data: bytes) -> Cut:
        if self.generation is None:
            raise ValueError("a stream of no generation has no packets")
        whole = len(data) - len(data) % self.generation.size_bytes
        self.rest = data[whole:]
        return _newest(data[:whole], self.generation)

    def settle(self) -> Cut:
        """Explain what is left after a silence: a packet is never continued so late."""
        data, self.rest = self.rest, b""
        found = None if self.is_given else _find_exact(data)
        if found is None:
            return Cut(b"", is_lost=bool(data))
        self.generation = found
        return _newest(data, found)


def recognise(data: bytes, known: Generation | None = None) -> Generation | None:
    """Guess the generation of a piece of stream that begins with a packet.

    Args:
        data: all that was received since the last whole packet.
        known: what the guest spoke so far.

    Returns:
        None: a silence must decide, or nothing makes sense.
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
            continue  # not better than what is known
        count = _count(data, guess)
        if count > 1 or (count and _is_decisive(data, guess)):
            return guess
        if count and is_known_good:
            return None  # as good: one packet of this length, or one and a bit
    return known if is_known_good else None


def _newest(packets: bytes, generation: Generation) -> Cut:
    most = MOST_PACKETS * generation.size_bytes
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
    """Return how many headers a stride gives; 0 if one of them makes no sense."""
    count, stride = 0, guess.size_bytes
    end = min(len(data) - _HEADER.size + 1, MOST_PACKETS * stride)
    for offset in range(0, end, stride):
        number, unit, command = _HEADER.unpack_from(data, offset)
        if command not in _COMMANDS:
            return 0
        # The first one is where a packet begins, whatever its guest wrote there.
        is_strange = number > _LARGEST_NUMBER or unit > _LARGEST_NUMBER
        if offset and is_strange and command not in _ANYTHING_GOES:
            return 0
        count += 1
    return count
