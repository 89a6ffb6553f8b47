"""A rule for onboarding, as a value: which domains it means, and what it gives them.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import MAX_CHANNEL_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.values.domain import DomainSpec

ALL, NONE = "all", "none"


class MetadataWord(StrEnum):
    """What a domain's own word about onboarding must be, for a rule to mean it.

    The word is `onboard` of the domain's metadata, or of a `[[domain]]` rule for it.
    """

    PERMITS = "permits"
    """Anything but a refusal."""
    ASKS = "asks"
    """It must ask."""
    IGNORED = "ignored"
    """Whatever it says, also a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardRule:
    """Domains that are given the channels they lack.

    The first rule that means a domain decides about it, in its definition (running or
    not) and in the running domain. What a rule gave is taken back when no rule wants
    it any more.
    """

    match: str = ""
    """Shell pattern of the domain's name, as in "dpdk-*", or its UUID; empty: any."""
    except_: tuple[str, ...] = ()
    """Patterns or UUIDs of domains that the rule does not mean."""
    pinned: bool | None = None
    """true: only domains with pinned vCPUs, whose requests can be obeyed; false: only
    those without."""
    metadata: MetadataWord = MetadataWord.PERMITS
    """What the domain's own metadata must say."""
    channels: str = ALL
    """"all": one for each vCPU; or numbers, as in "0-3"; or "none", for domains that
    later rules shall not mean either."""

    def means(self, spec: DomainSpec, *, word: bool | None) -> bool:
        """Whether the rule is about a domain.

        Args:
            spec: the domain.
            word: what it says of onboarding itself: it asks, it refuses, or nothing.
        """
        return (
            (not self.match or spec.is_named(self.match))
            and not any(map(spec.is_named, self.except_))
            and self.pinned in (None, spec.is_pinned)
            and self._agrees(word=word)
        )

    def wanted(self, vcpus: Iterable[int]) -> frozenset[int]:
        """Return the numbers of the channels that a domain with these vCPUs gets.

        Raises:
            ConfigError: `channels` is none of what it may be.
        """
        if self.follows_vcpus:
            return frozenset(vcpus)
        return frozenset() if self.channels == NONE else parse_cpulist(self.channels)

    @property
    def follows_vcpus(self) -> bool:
        """Whether a domain's vCPUs decide which channels it gets."""
        return self.channels == ALL

    def contradictions(self) -> Iterator[str]:
        """Say what cannot be meant."""
        is_limited = (
            self.pinned is not None or self.metadata is not MetadataWord.PERMITS
        )
        if not (self.match or is_limited):
            yield 'means every domain; if that is meant, say match = "*"'
        try:
            highest = max(self.wanted(()), default=0)
        except ConfigError as error:
            yield f"channels: {error}"
        else:
            if highest > MAX_CHANNEL_NUMBER:
                yield f"channels: {highest} is above {MAX_CHANNEL_NUMBER}"

    def _agrees(self, *, word: bool | None) -> bool:
        if self.metadata is MetadataWord.IGNORED:
            return True
        return word is True if self.metadata is MetadataWord.ASKS else word is not False
