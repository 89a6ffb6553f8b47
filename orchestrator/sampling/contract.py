# SPDX-License-Identifier: Apache-2.0
"""What every sampler is: it reads one kind of counter and compares two readings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypeVar

from orchestrator.errors import VmpowerError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orchestrator.values.domain import DomainId, InterfaceSpec

ReadingT = TypeVar("ReadingT")
ValueT = TypeVar("ValueT")

NS_PER_S = 1_000_000_000


class SamplingError(VmpowerError):
    """A counter cannot be read now; the message is the reason."""


class Lane(Enum):
    """Which threads a sampler's reads wait in."""

    HOST_FILES = "host-files"
    """Files, netlink and counters of the host: fast, one at a time."""
    LIBVIRT = "libvirt"
    """Calls into libvirt, which can hang for one domain and not for another."""


class SampleTarget(NamedTuple):
    """What to sample of one domain; a sampler uses the fields that it needs."""

    uuid: DomainId
    interfaces: tuple[InterfaceSpec, ...]
    """Network interfaces whose traffic counts."""
    pcpus: frozenset[int]
    """Host CPUs that the vCPUs in question are pinned to."""


class Sampler(ABC, Generic[ReadingT, ValueT]):
    """Reads one kind of counter.

    Synchronization: `read` and `read_together` from any thread, they can block; the
    other methods do not block.
    """

    lane: ClassVar[Lane] = Lane.HOST_FILES
    is_batched: ClassVar[bool] = False
    """Whether `read_together` reads many domains with one call."""

    def find_obstacle(self, target: SampleTarget) -> str | None:  # noqa: ARG002 - a default
        """Return why this target can never be read on this host; None: it can."""
        return None

    @abstractmethod
    def read(self, target: SampleTarget) -> ReadingT:
        """Read the counters of one domain.

        Raises:
            SamplingError: they cannot be read now.
        """

    def read_together(
        self,
        targets: Collection[SampleTarget],  # noqa: ARG002 - a default
    ) -> Mapping[DomainId, ReadingT]:
        """Read many domains with one call; those that are left out: `read` them."""
        return {}

    @abstractmethod
    def between(
        self, old: ReadingT, new: ReadingT, cpus: Mapping[int, Collection[int]]
    ) -> Mapping[int, ValueT]:
        """Return what happened between two readings of the same domain, by vCPU.

        Counters only grow; one that went back was reset, and the time before is lost.

        Args:
            old: the earlier reading.
            new: the later one.
            cpus: the vCPUs in question, each with the host CPUs that it is pinned to.

        Returns:
            The vCPUs for which it is known.
        """

    def keep(self, targets: Collection[SampleTarget]) -> None:
        """Release everything that is open for other targets than these."""
