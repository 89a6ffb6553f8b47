"""What every policy is: parameters, and a pure decision over a view.

Pure. A view carries everything that a decision may depend on, time included; what is
not known is None, never a number that means it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.policy.kinds.want import Want
    from orchestrator.policy.rule import PolicyKind
    from orchestrator.sampling.question import Need
    from orchestrator.sampling.readings import BranchCount

MemoryT = TypeVar("MemoryT")


@dataclass(frozen=True, slots=True, kw_only=True)
class VCpuSight:
    """One vCPU, as a policy sees it."""

    vcpu: int
    steps_khz: tuple[int, ...]
    """The steps that it may get, descending, at least one."""
    utilisation: float | None = None
    """The part of the time since the last look for which it ran, 0 to 1."""
    branches: BranchCount | None = None
    """Since the last look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """What a policy sees of its domain."""

    now: datetime
    """Aware, in the host's local zone: the wall time."""
    monotonic_s: float
    """For intervals."""
    packets_per_s: float | None = None
    """Received by the interfaces that the policy watches, since the last look."""
    vcpus: tuple[VCpuSight, ...] = ()
    """Those that the policy is about and whose clock can be set now."""


class Decision(NamedTuple, Generic[MemoryT]):
    """What a policy wants, and what it will want to remember."""

    wants: Mapping[int, Want]
    """For each vCPU of the view."""
    memory: MemoryT


class Policy(Protocol[MemoryT]):
    """A rule that knows what its vCPUs should get.

    A policy is immutable and hashable; `decide` is pure and total: it reads nothing
    but its arguments and its own parameters, and has an answer to every view. Each
    vCPU of the view gets a want, and no other does.
    """

    @property
    def kind(self) -> PolicyKind:
        """Which rule it is."""
        ...

    @property
    def period_s(self) -> float:
        """Seconds between two decisions."""
        ...

    @property
    def need(self) -> Need | None:
        """What it must see; None: it looks at nothing but the time."""
        ...

    def begin(self) -> MemoryT:
        """Return the memory before the first decision."""
        ...

    def decide(self, view: PolicyView, memory: MemoryT) -> Decision[MemoryT]:
        """Say what each vCPU should get now."""
        ...


def all_want(view: PolicyView, want: Want) -> dict[int, Want]:
    """Want the same of every vCPU."""
    return {sight.vcpu: want for sight in view.vcpus}
