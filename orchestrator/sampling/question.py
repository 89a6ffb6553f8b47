"""What samplers are asked: a kind of sample, of a domain's interfaces or CPUs."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import VmpowerError

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainId, InterfaceSpec


class SamplingError(VmpowerError):
    """Something that a policy needs to see cannot be read now; it does not vote."""


class Need(Enum):
    """A kind of sample."""

    TRAFFIC = "traffic"
    """Packets that the domain's interfaces received."""
    BRANCHES = "branches"
    """Retired and mispredicted branches of the CPUs that a vCPU is pinned to."""
    UTILISATION = "utilisation"
    """How long each vCPU has run."""


class Question(NamedTuple):
    """What to read for one policy."""

    need: Need
    uuid: DomainId
    interfaces: tuple[InterfaceSpec, ...]
    pcpus: frozenset[int]
