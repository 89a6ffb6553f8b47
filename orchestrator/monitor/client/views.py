# SPDX-License-Identifier: Apache-2.0
"""The contents of the shared table, as values.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.monitor.link.table import Voter
    from orchestrator.values.domain import DomainId


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Counters of one channel since its domain was last seen shut off.

    Or since the daemon started, if that is later. While the domain runs they only grow,
    even if the channel is reconnected.

    `requests` = `acks` + `nacks` + `dropped` + `late` + `unanswered` + those that still
    wait, for their clock group to be taken or for a policy to be installed.
    """

    requests: int = 0
    """Requests, policies and queries; not CONNECT and the removal of a policy."""
    acks: int = 0
    """Requests that were answered ACK, and replies."""
    nacks: int = 0
    """Requests that were answered NACK."""
    dropped: int = 0
    """Answers dropped because the guest does not read them."""
    late: int = 0
    """Answers dropped because the guest had stopped waiting."""
    errors: int = 0
    """Malformed or unknown packets."""
    unanswered: int = 0
    """Requests of a guest that reads no answers: of an old generation, or P-states."""
    throttled: int = 0
    """How often the guest was not read for a while: its budget was used up."""
    last_received_ns: int = 0
    """When (monotonic) the guest last sent anything; 0: never."""
    generation: int | None = None
    """Size of the guest's packets in bytes; None: not known yet."""
    is_generation_configured: bool = False
    """Whether the generation is configured rather than detected."""
    nack_reasons: Mapping[str, int] = field(default_factory=dict)
    """Refused requests by reason; see `values.refusal.Refusal`."""
    nack_last_ns: Mapping[str, int] = field(default_factory=dict)
    """When (monotonic) the last of them was refused, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestVote:
    """The vote of a guest for one vCPU, as the table has it."""

    vcpu: int
    group: int
    """The clock group that the vCPU is in."""
    khz: int
    voter: Voter


class Grant(NamedTuple):
    """What the monitor has set for a clock group."""

    khz: int | None
    """None: not known, or the group is not taken."""
    writes: int
    """Frequencies written so far; if it stays the same, so does the frequency."""


class ChannelTotals(NamedTuple):
    """Counters of one channel, as `Counters` has them, without what takes long."""

    acks: int
    nacks: int
    dropped: int
    late: int
    errors: int
    unanswered: int
    throttled: int
    refused: tuple[int, ...]
    """Refused requests, in the order of `Refusal`."""
    generation: int | None


class Totals(NamedTuple):
    """What the monitor has counted, copied from the shared table at one time."""

    channels: Mapping[DomainId, Mapping[int, ChannelTotals]]
    """By domain and number of the channel."""
    grants: Mapping[int, int]
    """kHz by clock group: the last frequency that the kernel accepted; 0: none."""
    writes: int
    """Frequencies that the kernel accepted."""
    refused_writes: int
    latencies: tuple[int, ...]
    """Answers by latency; see `table.LATENCY_BUCKETS`."""
    latency_sum_ns: int


KeyT = TypeVar("KeyT")
PlaceT = TypeVar("PlaceT")
ValueT = TypeVar("ValueT")


class LazyMapping(Mapping[KeyT, ValueT]):
    """A mapping whose values are read on access: reading a thousand takes 10 ms."""

    def __init__(
        self,
        places: Mapping[KeyT, PlaceT],
        read: Callable[[KeyT, PlaceT], ValueT],
    ) -> None:
        """Read nothing yet.

        Args:
            places: where to read, by key.
            read: reads one value.
        """
        self._places = places
        self._read = read

    def __getitem__(self, key: KeyT) -> ValueT:
        """Read one value."""
        return self._read(key, self._places[key])

    def __iter__(self) -> Iterator[KeyT]:
        """Iterate over the keys."""
        return iter(self._places)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._places)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSnapshot:
    """The contents of the shared table; channels and requests are read on access.

    Do not access a channel or vCPU that is no longer defined: its row may have been
    reused.
    """

    channels: Mapping[tuple[DomainId, int], Counters] = field(default_factory=dict)
    """By domain and channel number."""
    requested_khz: Mapping[tuple[DomainId, int], int | None] = field(
        default_factory=dict
    )
    """kHz by domain and vCPU: the highest vote, within the domain's limits; None: no
    vote."""
    votes_khz: Mapping[tuple[DomainId, int], int | None] = field(default_factory=dict)
    """kHz by domain and vCPU: the highest vote, whatever the limits are, also what the
    guest of an observed domain would vote for; None: no vote, only that of CONNECT, or
    one of a P-state channel whose request may be lost."""
    grants: Mapping[int, int | None] = field(default_factory=dict)
    """kHz by clock group: the last frequency that the kernel accepted; None: not
    taken."""
    refusals: Mapping[int, int] = field(default_factory=dict)
    """Refused writes by clock group."""
