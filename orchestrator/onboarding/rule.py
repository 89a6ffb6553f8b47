# SPDX-License-Identifier: Apache-2.0
"""An onboarding rule: which domains it matches, and which channels they get.

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


class MetadataCondition(StrEnum):
    """What a domain's own `onboard` setting must be for a rule to match.

    The setting comes from the domain's metadata, or from a `[[domain]]` rule for it.
    """

    PERMITS = "permits"
    """Anything but a refusal (`onboard="no"`)."""
    ASKS = "asks"
    """The domain must request onboarding (`onboard="yes"`)."""
    IGNORED = "ignored"
    """Anything, even a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardRule:
    """Domains that get the channels they lack.

    The first rule that matches a domain applies, to its definition and, while it runs,
    to the running domain. Channels that a rule attached are detached when no rule
    wants them any more.
    """

    match: str = ""
    """Shell pattern of the domain's name, as in "dpdk-*", or its UUID; empty matches
    every domain."""
    except_: tuple[str, ...] = ()
    """Patterns or UUIDs of domains that the rule does not match."""
    pinned: bool | None = None
    """true: only domains with pinned vCPUs, whose requests can be granted; false: only
    domains without."""
    metadata: MetadataCondition = MetadataCondition.PERMITS
    """What the domain's own `onboard` setting must be."""
    channels: str = ALL
    """"all": one channel for each vCPU; numbers, as in "0-3"; or "none", to exclude
    domains from the rules that follow, or to give them P-states only."""
    p_states: bool = False
    """true: the domain's definition gets P-states, which the guest's own cpufreq driver
    requests. They take effect when the domain is started; they are updated when its
    pinning or its limits change, and stay if the rule does not apply any more."""

    def matches(self, spec: DomainSpec, *, setting: bool | None) -> bool:
        """Whether the rule applies to a domain.

        Args:
            spec: the domain.
            setting: its own `onboard` setting; None: it has none.
        """
        return self.is_for(spec) and not self.find_obstacle(spec, setting=setting)

    def is_for(self, spec: DomainSpec) -> bool:
        """Whether the rule is for a domain of this name."""
        return not self.match or spec.is_named(self.match)

    def find_obstacle(self, spec: DomainSpec, *, setting: bool | None) -> str:
        """Return why the rule does not apply to a domain that it is for.

        Args:
            spec: the domain.
            setting: its own `onboard` setting; None: it has none.

        Returns:
            The reason, for people; empty: the rule applies.
        """
        if any(map(spec.is_named, self.except_)):
            return "the domain is an exception"
        if self.pinned not in (None, spec.is_pinned):
            return f"the domain's vCPUs are {'not ' * (not spec.is_pinned)}pinned"
        if not self._accepts(setting):
            has_refused = setting is False
            return f"the domain {'refuses' if has_refused else 'does not request'} it"
        return ""

    def wanted(self, vcpus: Iterable[int]) -> frozenset[int]:
        """Return the numbers of the channels that a domain with these vCPUs gets.

        Raises:
            ConfigError: `channels` is invalid.
        """
        if self.follows_vcpus:
            return frozenset(vcpus)
        return (
            frozenset()
            if self.channels == NONE
            else parse_cpulist(self.channels, noun="channel")
        )

    @property
    def follows_vcpus(self) -> bool:
        """Whether the domain's vCPUs decide which channels it gets."""
        return self.channels == ALL

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the rule; nothing if it is valid."""
        is_limited = (
            self.pinned is not None or self.metadata is not MetadataCondition.PERMITS
        )
        if not (self.match or is_limited):
            yield 'matches every domain: if that is intended, set match = "*"'
        try:
            highest = max(self.wanted(()), default=0)
        except ConfigError as error:
            yield f"channels: {error}"
        else:
            if highest > MAX_CHANNEL_NUMBER:
                yield (
                    f"channels: invalid channel number {highest}:"
                    f" the highest is {MAX_CHANNEL_NUMBER}"
                )

    def _accepts(self, setting: bool | None) -> bool:  # noqa: FBT001 - a value, no flag
        if self.metadata is MetadataCondition.IGNORED:
            return True
        if self.metadata is MetadataCondition.ASKS:
            return setting is True
        return setting is not False
