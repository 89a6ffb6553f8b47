"""The memory that main and monitor share: counters, votes, grants.

Theory of operation: an anonymous file (memfd) that main creates and every monitor
process maps, so that it survives a monitor. Only the monitor writes rows that are in
use, main only reads them and clears rows that no living monitor knows. There is no
lock: every field is one aligned 8-byte word, which the hardware stores whole, and no
reader needs two fields to agree. Rows are generous because the file is sparse: memory
is used for pages that were written.

Source: man 2 memfd_create, man 2 fcntl (seals: nobody can shrink the file under the
other's mapping, which would be a SIGBUS).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANNEL_ROWS = 16_384
VCPU_ROWS = 65_536
GROUP_ROWS = 8_192

CHANNEL_WORDS = 32  # four cache lines, of which the first one is the busy one
ACKS, NACKS, DROPPED, LATE, ERRORS, WAITING, UNANSWERED, GENERATION, HEARD = range(9)
"""Fields of a channel's row: what became of answers, pieces of input that were no
packet, answers that wait now, requests of a guest that reads none, what its guest
speaks, see `pack_generation`, and when (monotonic, ns) its guest last sent anything.
Requests are not counted: they are the sum of what became of their answers."""
REASONS = HEARD
"""Behind this field, one for each `Refusal`: requests refused for it."""

VCPU_WORDS = 2
VOTE, VOTER = range(2)
"""Fields of a vCPU's row: kHz, 0 for none; and who voted, see `pack_voter`."""

GROUP_WORDS = 4
GRANT, REFUSALS = range(2)
"""Fields of a group's row: kHz, 0 for none; refused writes."""


def check_row(words: int, *fields: int) -> None:
    """Raise AssertionError if a row has not a word of its own for each field.

    A field beyond its row would count in the next row, of another channel.
    """
    if len(set(fields)) != len(fields) or not set(fields) <= set(range(words)):
        raise AssertionError(f"fields {fields} do not fit a row of {words} words")


check_row(CHANNEL_WORDS, *range(HEARD + 1), *(REASONS + reason for reason in Refusal))
check_row(VCPU_WORDS, VOTE, VOTER)
check_row(GROUP_WORDS, GRANT, REFUSALS)

_VCPUS_AT = CHANNEL_ROWS * CHANNEL_WORDS
_GROUPS_AT = _VCPUS_AT + VCPU_ROWS * VCPU_WORDS
DONE_AT = _GROUPS_AT + GROUP_ROWS * GROUP_WORDS
"""Index of the word that counts main's messages that the present monitor has done."""
_WORDS = DONE_AT + 1
_BYTES = _WORDS * 8
_TURBO_OFF = 1 << 32
_CONNECT_VOTE = 1 << 33
_GIVEN = 1 << 32
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def channel_at(row: int) -> int:
    """Return the index of the first word of a channel's row.

    Raises:
        IndexError: there is no such row.
    """
    return _at(row, CHANNEL_ROWS, CHANNEL_WORDS, 0)


def vcpu_at(row: int) -> int:
    """Return the index of the first word of a vCPU's row.

    Raises:
        IndexError: there is no such row.
    """
    return _at(row, VCPU_ROWS, VCPU_WORDS, _VCPUS_AT)


def group_at(row: int) -> int:
    """Return the index of the first word of a group's row.

    Raises:
        IndexError: there is no such row.
    """
    return _at(row, GROUP_ROWS, GROUP_WORDS, _GROUPS_AT)


def _at(row: int, rows: int, words: int, start: int) -> int:
    if not 0 <= row < rows:
        raise IndexError(f"no row {row} in the shared table")
    return start + row * words


class Voter(NamedTuple):
    """Who has voted for a vCPU, beside the vote itself."""

    number: int | None = None
    """The channel that voted last; None: none."""
    has_turbo_right: bool = True
    """The guest's turbo switch."""
    is_connect_vote: bool = False
    """Whether the vote is only CONNECT's."""


def pack_voter(voter: Voter) -> int:
    """Write who has voted; nothing written is nobody."""
    word = 0 if voter.number is None else voter.number + 1
    word |= 0 if voter.has_turbo_right else _TURBO_OFF
    return word | _CONNECT_VOTE if voter.is_connect_vote else word


def unpack_voter(word: int) -> Voter:
    """Read what `pack_voter` wrote."""
    number = word & (_TURBO_OFF - 1)
    return Voter(
        number=number - 1 if number else None,
        has_turbo_right=not word & _TURBO_OFF,
        is_connect_vote=bool(word & _CONNECT_VOTE),
    )


def pack_generation(size_bytes: int | None, *, is_given: bool) -> int:
    """Write the generation of a channel's guest (None: unknown), and who knows it."""
    size_bytes = size_bytes or 0
    return size_bytes | _GIVEN if is_given else size_bytes


def unpack_generation(word: int) -> tuple[int | None, bool]:
    """Read what `pack_generation` wrote."""
    return word & (_GIVEN - 1) or None, bool(word & _GIVEN)


def create_table() -> int:
    """Make the shared file, all zeros; the caller owns the descriptor."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    fd = os.memfd_create("vmpower-table", flags)
    os.ftruncate(fd, _BYTES)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


class SharedTable:
    """A mapping of the shared file.

    Synchronization: one process's own mapping; see the module for who writes what.
    """

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, _BYTES)
        self.words = memoryview(self._map).cast("Q")
        """All fields of all rows; the index of a row comes from `channel_at`, ..."""

    def clear(self, indices: Iterable[int], words: int) -> None:
        """Zero rows of that many words each."""
        for index in indices:
            for word in range(index, index + words):
                self.words[word] = 0

    def close(self) -> None:
        """Unmap; the file itself lives as long as somebody holds it."""
        self.words.release()
        self._map.close()
