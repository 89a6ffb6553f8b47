"""What main reads of the shared table, as values.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.values.domain import DomainId


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What has passed over one channel since its domain was seen off last.

    Or since the daemon started, if that is later. While the domain runs they only grow,
    whatever becomes of the channel's connection.

    `requests` = `acks` + `nacks` + `dropped` + `late` + `unanswered` + those that
    still wait, for their clock group to be taken or for word about a policy.
    """

    requests: int = 0
    """Requests, policies and queries; CONNECT and the end of a policy are none."""
    acks: int = 0
    """Answers given: done."""
    nacks: int = 0
    """Answers given: refused."""
    dropped: int = 0
    """Answers not given, because the guest does not read."""
    late: int = 0
    """Answers not given, because the guest had given up waiting."""
    errors: int = 0
    """Pieces of input that were no packet, or an unknown one."""
    unanswered: int = 0
    """Requests of a guest so old that it reads no answers."""
    generation: int | None = None
    """Bytes of a packet of its guest; None: it has not spoken yet."""
    is_generation_given: bool = False
    """Whether an operator said so, instead of the guest's own bytes."""
    nack_reasons: Mapping[str, int] = field(default_factory=dict)
    """Requests that were refused, by reason; see `refusals.Refusal`."""


KeyT = TypeVar("KeyT")
PlaceT = TypeVar("PlaceT")
ValueT = TypeVar("ValueT")


class Readings(Mapping[KeyT, ValueT]):
    """Values that are read when somebody looks at them: a thousand cost 10 ms."""

    def __init__(
        self,
        places: Mapping[KeyT, PlaceT],
        read: Callable[[KeyT, PlaceT], ValueT],
    ) -> None:
        """Read nothing yet.

        Args:
            places: where to read, by key.
            read: reads there.
        """
        self._places = places
        self._read = read

    def __getitem__(self, key: KeyT) -> ValueT:
        """Read one."""
        return self._read(key, self._places[key])

    def __iter__(self) -> Iterator[KeyT]:
        """Give the keys."""
        return iter(self._places)

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._places)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSnapshot:
    """What the shared memory table says; channels and wishes when they are looked at.

    Who is no longer defined when he is looked at must not be asked about: his row may
    be another's.
    """

    channels: Mapping[tuple[DomainId, int], Counters] = field(default_factory=dict)
    """By domain and channel number."""
    wishes: Mapping[tuple[DomainId, int], int | None] = field(default_factory=dict)
    """kHz by domain and vCPU; None: neither guest nor policy has voted."""
    grants: Mapping[int, int | None] = field(default_factory=dict)
    """kHz by clock group: the last value that the kernel accepted; None: not taken."""
    refusals: Mapping[int, int] = field(default_factory=dict)
    """Writes that the kernel refused, by clock group."""
