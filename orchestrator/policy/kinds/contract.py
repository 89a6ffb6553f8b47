# SPDX-License-Identifier: Apache-2.0
"""What every policy is: options, and a pure decision over a view.

Pure. A view carries everything that a decision may depend on, time included; what is
unknown is None, never a number that stands for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, NewType, TypeVar

from orchestrator.policy.kinds.option import LONGEST_PERIOD_S, options_of
from orchestrator.policy.kinds.want import Level
from orchestrator.values.cpu_attributes import ANY_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from orchestrator.limits import Window
    from orchestrator.policy.kinds.option import Option, Problem, Spelling
    from orchestrator.policy.kinds.want import Want
    from orchestrator.sampling.kinds import SampleKind
    from orchestrator.values.cpu_attributes import CpuAttributes

PolicyKind = NewType("PolicyKind", str)
"""The name of a kind in the configuration, on the command line and in the API.

Not an enumeration: a kind names itself, and `policy.kinds.table` lists them.
"""


class Concern(Enum):
    """What a kind of policy decides: its policies compete for that, and no others."""

    FREQUENCY = "frequency"
    """It votes."""
    IDLE_LATENCY = "idle latency"
    ENERGY_PREFERENCE = "energy preference"


MemoryT = TypeVar("MemoryT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class VCpuSample(Generic[ValueT]):
    """One vCPU, as a policy sees it."""

    vcpu: int
    window: Window
    """The steps that it may have."""
    value: ValueT | None = None
    """What the policy's sampler found since the last decision; None: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView(Generic[ValueT]):
    """What a policy sees of its domain."""

    now: datetime
    """Aware, in the host's local zone: the wall time."""
    monotonic_s: float
    """For intervals."""
    vcpus: tuple[VCpuSample[ValueT], ...] = ()
    """Those that the policy applies to and whose frequency can be set now."""


class Decision(NamedTuple, Generic[MemoryT]):
    """What a policy wants, and its memory for the next decision."""

    wants: Mapping[int, Want]
    """For each vCPU of the view."""
    memory: MemoryT


class Policy(ABC, Generic[ValueT, MemoryT]):
    """Decides which frequency each of its vCPUs should get.

    A policy is immutable and hashable; `decide` is pure and total: it depends on its
    arguments and its own options only, and has an answer to every view. Each vCPU of
    the view gets a want, and no other does.
    """

    __slots__ = ()

    kind: ClassVar[PolicyKind]
    sample: ClassVar[SampleKind | None] = None
    """What it samples; None: it depends on nothing but the time."""
    concern: ClassVar[Concern] = Concern.FREQUENCY
    """What it decides."""

    @property
    @abstractmethod
    def period_s(self) -> float:
        """Seconds between two decisions."""

    @classmethod
    def is_voting(cls) -> bool:
        """Return whether it votes for a frequency."""
        return cls.concern is Concern.FREQUENCY

    @property
    def attributes(self) -> CpuAttributes:
        """What it holds the CPUs of its vCPUs at while it applies."""
        return ANY_ATTRIBUTES

    @classmethod
    def options(cls) -> Mapping[str, Option]:
        """Return the options of this kind, in order, by name."""
        return options_of(cls)

    @classmethod
    def summary(cls) -> str:
        """Return one line about this kind: the first of its docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    def problems(self, spell: Spelling) -> Iterator[Problem]:  # noqa: ARG002 - a default
        """Yield what is wrong with the options together; each by itself is right.

        Args:
            spell: writes the name of another option that a problem mentions.
        """
        yield from ()

    def is_shown(self, name: str) -> bool:  # noqa: ARG002 - a default
        """Return whether an option is part of the policy's text."""
        return True

    @property
    def needs_sample(self) -> bool:
        """Whether it samples with these options."""
        return self.sample is not None

    @property
    def works_without_sample(self) -> bool:
        """Whether it votes at some time even if nothing can be sampled."""
        return not self.needs_sample

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone whose time of day it depends on; None: the host's."""
        return None

    def level_at(self, moment: datetime) -> Level | None:  # noqa: ARG002 - a default
        """Return the level of a moment.

        Args:
            moment: aware, in the host's local zone.

        Returns:
            What all vCPUs get then; None: it depends on samples.
        """
        return None

    @property
    def changes_min(self) -> frozenset[int]:
        """Minutes of the day, in `zone`, at which `level_at` may change."""
        return frozenset()

    @abstractmethod
    def begin(self) -> MemoryT:
        """Return the memory before the first decision."""

    @abstractmethod
    def decide(self, view: PolicyView[ValueT], memory: MemoryT) -> Decision[MemoryT]:
        """Return what each vCPU should get now."""


class HoldingPolicy(Policy[Any, None]):
    """Holds attributes of CPUs, and does not vote."""

    __slots__ = ()

    @property
    def period_s(self) -> float:
        """Seconds between two decisions, which are all the same."""
        return LONGEST_PERIOD_S

    def level_at(self, moment: datetime) -> Level:  # noqa: ARG002 - always the same
        """Return that it does not vote."""
        return Level.NO_VOTE

    def begin(self) -> None:
        """Nothing is remembered."""

    def decide(self, view: PolicyView[Any], memory: None) -> Decision[None]:
        """Want no frequency."""
        return Decision({it.vcpu: Level.NO_VOTE for it in view.vcpus}, memory)
