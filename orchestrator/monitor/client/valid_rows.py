# SPDX-License-Identifier: Apache-2.0
"""What main believes of the shared table: a monitor may have written anything.

A word that no working monitor writes is read as zero, so that it reaches neither the
status nor the next monitor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import GENERATIONS
from orchestrator.monitor.link.table import (
    ACKS,
    DROPPED,
    ERRORS,
    GENERATION,
    GRANT,
    LAST_RECEIVED,
    LATE,
    LATENCY_AT,
    LATENCY_SUM_AT,
    NACKS,
    P_STATE_VOTE,
    P_STATE_VOTER,
    REASONS,
    REFUSALS,
    REFUSED_AT,
    THROTTLED,
    UNANSWERED,
    VOTE,
    VOTER,
    WAITING,
    WRITES,
    pack_generation,
    pack_voter,
    unpack_generation,
    unpack_voter,
)
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_COUNT = 2**53
"""The largest integer that every reader of JSON understands; 3,000 years at 100,000
requests per second."""
_MAX_KHZ = 2**32
_COUNTS = (
    *(ACKS, NACKS, DROPPED, LATE, ERRORS, WAITING, UNANSWERED, THROTTLED),
    *(REASONS + refusal for refusal in Refusal),
)
_TIMES = (LAST_RECEIVED, *(REFUSED_AT + refusal for refusal in Refusal))


def valid_count(word: int) -> int:
    """Return a counter; 0: it is not a count."""
    return word if word <= MAX_COUNT else 0


def copy_channel(
    old: memoryview[int], new: memoryview[int], at: int, now_ns: int
) -> None:
    """Copy a channel's row.

    Args:
        old: the words to read.
        new: the words to write.
        at: the index of the row.
        now_ns: the time (monotonic): nothing happened later.
    """
    for field in _COUNTS:
        new[at + field] = valid_count(old[at + field])
    size, is_configured = unpack_generation(old[at + GENERATION])
    if size in GENERATIONS:
        word = pack_generation(size, is_configured=is_configured)
        new[at + GENERATION] = word
    for field in _TIMES:
        if old[at + field] <= now_ns:
            new[at + field] = old[at + field]


def copy_vcpu(old: memoryview[int], new: memoryview[int], at: int) -> None:
    """Copy a vCPU's row: the votes of its guest; see `copy_channel`."""
    for vote, voter in ((VOTE, VOTER), (P_STATE_VOTE, P_STATE_VOTER)):
        vote_khz, word = old[at + vote], old[at + voter]
        if vote_khz <= _MAX_KHZ and pack_voter(unpack_voter(word)) == word:
            new[at + vote], new[at + voter] = vote_khz, word


def copy_group(
    old: memoryview[int], new: memoryview[int], at: int, steps: Collection[int]
) -> None:
    """Copy a clock group's row; see `copy_channel`.

    Args:
        old: the words to read.
        new: the words to write.
        at: the index of the row.
        steps: kHz that can be its grant.
    """
    for field in (REFUSALS, WRITES):
        new[at + field] = valid_count(old[at + field])
    if old[at + GRANT] in steps:
        new[at + GRANT] = old[at + GRANT]


def copy_latencies(old: memoryview[int], new: memoryview[int]) -> None:
    """Copy the histogram of latencies; see `copy_channel`."""
    for index in range(LATENCY_AT, LATENCY_SUM_AT + 1):
        new[index] = valid_count(old[index])
