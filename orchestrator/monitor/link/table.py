# SPDX-License-Identifier: Apache-2.0
"""The memory shared by main and monitor: counters, votes, grants.

Theory of operation: an anonymous file (memfd) that main creates and a monitor process
maps, so that its contents survive the monitor's death. Each monitor has a file of its
own, into which main copies what the last one left: another process that still has the
last file changes nothing. Only the monitor writes rows in use; main only reads them.
There is no lock: every field is one aligned 8-byte word, which the hardware writes
atomically, and no reader needs two fields to be consistent. Rows of
domains are the other way round: main writes what each domain draws, for the monitor to
reply with, and reads nothing of it back. The table is generous because the file is
sparse: only written pages use memory.

Source: man 2 memfd_create, man 2 fcntl (seals: neither side can shrink the file under
the other's mapping, which would cause SIGBUS).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol import EnergyFigures
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHANNEL_ROWS = 16_384
VCPU_ROWS = 65_536
GROUP_ROWS = 8_192
DOMAIN_ROWS = VCPU_ROWS

CHANNEL_WORDS = 64  # eight cache lines; the first is the busy one
ACKS, NACKS, DROPPED, LATE, ERRORS, WAITING, UNANSWERED, GENERATION = range(8)
THROTTLED, LAST_RECEIVED = 8, 9
"""Fields of a channel's row: outcomes of requests, malformed pieces of input, answers
that wait, requests of a guest that reads no answers, the guest's generation (see
`pack_generation`), how often it was not read because its budget was used up, and when
(monotonic, ns) the guest last sent anything. The number of requests is the sum of their
outcomes."""
REASONS = LAST_RECEIVED
"""Followed by one field for each `Refusal`: requests refused for this reason."""
REFUSED_AT = REASONS + len(Refusal)
"""Followed by one field for each `Refusal`: when (monotonic, ns) it last occurred."""

VCPU_WORDS = 8
VOTE, VOTER, P_STATE_VOTE, P_STATE_VOTER, OBSERVED, OBSERVED_P_STATE = range(6)
"""Fields of a vCPU's row: kHz, 0 for none, and the voter, see `pack_voter`; the same
for its P-state channel; and what its guest would vote for by either, in kHz, if it were
not only observed, 0 for nothing."""
VOTE_WORDS = 2
"""Words of each of the two votes, which end at different times."""

GROUP_WORDS = 128
GRANT, REFUSALS, WRITES, BEGAN_NS = range(4)
"""Fields of a group's row: kHz, 0 for none; refused writes; accepted writes; and when
(monotonic) the current monitor began to account times."""
GRANTED_NS = 4
"""For how long no frequency was granted, in ns. Followed by one field for each step of
the group's table, in its order: for how long this step was. The time since the last
change is not yet in any of them: it is what their sum lacks since `BEGAN_NS`."""
GRANTED_STEPS = GROUP_WORDS - GRANTED_NS - 1
"""Steps of a table that have a field; the time of further ones counts as none. Tables
with steps of 100 MHz are shorter."""

DOMAIN_WORDS = 16
ACCOUNTED_AT, FIGURES = 0, 1
"""Fields of a domain's row: when (monotonic, ns) main wrote it, 0 for never; followed
by one signed field for each of `EnergyFigures`."""
_SIGN = 1 << 63
_WORD = (1 << 64) - 1


def check_row(words: int, *fields: int) -> None:
    """Raise AssertionError unless each field has a word of the row to itself.

    A field beyond its row would overwrite the next row, of another channel.
    """
    if len(set(fields)) != len(fields) or not set(fields) <= set(range(words)):
        raise AssertionError(f"fields {fields} do not fit a row of {words} words")


check_row(
    CHANNEL_WORDS,
    *range(LAST_RECEIVED + 1),
    *(REASONS + reason for reason in Refusal),
    *(REFUSED_AT + reason for reason in Refusal),
)
check_row(
    VCPU_WORDS,
    *(VOTE, VOTER, P_STATE_VOTE, P_STATE_VOTER, OBSERVED, OBSERVED_P_STATE),
)
check_row(GROUP_WORDS, GRANT, REFUSALS, WRITES, BEGAN_NS, GRANTED_NS)
check_row(
    DOMAIN_WORDS,
    ACCOUNTED_AT,
    *(FIGURES + number for number in range(len(EnergyFigures._fields))),
)

_VCPUS_AT = CHANNEL_ROWS * CHANNEL_WORDS
_GROUPS_AT = _VCPUS_AT + VCPU_ROWS * VCPU_WORDS
_DOMAINS_AT = _GROUPS_AT + GROUP_ROWS * GROUP_WORDS
DONE_AT = _DOMAINS_AT + DOMAIN_ROWS * DOMAIN_WORDS
"""Index of the word that counts the messages of main that the current monitor has
processed."""
LATENCY_AT = DONE_AT + 1
"""Index of the first of `LATENCY_BUCKETS` words that count answers by their latency."""
LATENCY_BUCKETS = 14
"""Bucket N counts what took less than 1,024 ns times 2 to the power of N, and not less
than half of that. The last one ends beyond the age at which an answer is dropped."""
LATENCY_UNIT_BITS = 10
LATENCY_SUM_AT = LATENCY_AT + LATENCY_BUCKETS
"""Index of the word with the sum of these latencies in ns."""
_WORDS = LATENCY_SUM_AT + 1
_BYTES = _WORDS * 8
_TURBO_OFF = 1 << 32
_CONNECT_VOTE = 1 << 33
_CONFIGURED = 1 << 32
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def channel_at(row: int) -> int:
    """Return the index of the first word of a channel's row.

    Raises:
        IndexError: no such row.
    """
    return _at(row, CHANNEL_ROWS, CHANNEL_WORDS, 0)


def vcpu_at(row: int) -> int:
    """Return the index of the first word of a vCPU's row.

    Raises:
        IndexError: no such row.
    """
    return _at(row, VCPU_ROWS, VCPU_WORDS, _VCPUS_AT)


def group_at(row: int) -> int:
    """Return the index of the first word of a group's row.

    Raises:
        IndexError: no such row.
    """
    return _at(row, GROUP_ROWS, GROUP_WORDS, _GROUPS_AT)


def granted_field(steps_khz: Sequence[int], khz: int) -> int:
    """Return the field of a group's row that counts the time of a grant.

    Args:
        steps_khz: the group's frequency table.
        khz: the grant; 0: none.
    """
    if khz not in steps_khz:
        return GRANTED_NS
    step = steps_khz.index(khz)
    return GRANTED_NS + (1 + step if step < GRANTED_STEPS else 0)


def domain_at(row: int) -> int:
    """Return the index of the first word of a domain's row.

    Raises:
        IndexError: no such row.
    """
    return _at(row, DOMAIN_ROWS, DOMAIN_WORDS, _DOMAINS_AT)


def _at(row: int, rows: int, words: int, start: int) -> int:
    if not 0 <= row < rows:
        raise IndexError(f"no row {row} in the shared table")
    return start + row * words


class Voter(NamedTuple):
    """The source of a vCPU's guest vote, beside the vote itself."""

    number: int | None = None
    """The channel that voted last; None: none."""
    has_turbo_right: bool = True
    """The guest's turbo switch."""
    is_connect_vote: bool = False
    """Whether the vote only comes from CONNECT."""


def latency_at(latency_ns: int) -> int:
    """Return the index of the word that counts answers with this latency.

    The monitor's shortest path has the same expression.
    """
    return LATENCY_AT + (latency_ns >> LATENCY_UNIT_BITS).bit_length()


def count_refusals(
    words: memoryview, index: int, refusal: Refusal, times: int, now_ns: int
) -> None:
    """Count refused requests in the row of a channel that begins at an index."""
    words[index + REASONS + refusal] += times
    words[index + REFUSED_AT + refusal] = now_ns


def write_figures(
    words: memoryview, index: int, figures: EnergyFigures, now_ns: int
) -> None:
    """Write what a domain draws into its row, which begins at an index."""
    for number, figure in enumerate(figures, index + FIGURES):
        words[number] = figure & _WORD
    words[index + ACCOUNTED_AT] = now_ns


def read_figures(words: memoryview, index: int) -> EnergyFigures:
    """Read what `write_figures` wrote; some of them may be a second newer."""
    start = index + FIGURES
    end = start + len(EnergyFigures._fields)
    return EnergyFigures(*((word ^ _SIGN) - _SIGN for word in words[start:end]))


def pack_voter(voter: Voter) -> int:
    """Encode a voter; 0 means none."""
    word = 0 if voter.number is None else voter.number + 1
    word |= 0 if voter.has_turbo_right else _TURBO_OFF
    return word | _CONNECT_VOTE if voter.is_connect_vote else word


def unpack_voter(word: int) -> Voter:
    """Decode a voter."""
    number = word & (_TURBO_OFF - 1)
    return Voter(
        number=number - 1 if number else None,
        has_turbo_right=not word & _TURBO_OFF,
        is_connect_vote=bool(word & _CONNECT_VOTE),
    )


def pack_generation(size_bytes: int | None, *, is_configured: bool) -> int:
    """Encode a guest's generation (None: unknown) and whether it is configured."""
    size_bytes = size_bytes or 0
    return size_bytes | _CONFIGURED if is_configured else size_bytes


def unpack_generation(word: int) -> tuple[int | None, bool]:
    """Decode a generation."""
    return word & (_CONFIGURED - 1) or None, bool(word & _CONFIGURED)


def create_table() -> int:
    """Create the shared file, all zeros; the caller owns the descriptor."""
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
        """All fields of all rows; see `channel_at` and the like for indices."""

    def clear(self, indices: Iterable[int], words: int) -> None:
        """Zero rows of the given number of words."""
        for index in indices:
            for word in range(index, index + words):
                self.words[word] = 0

    def close(self) -> None:
        """Unmap; the file itself lives until its last user closes it."""
        self.words.release()
        self._map.close()
