"""What one domain may do, and who says so.

Theory of operation: every matter is decided by the first that says something about it:
the rules of the host's configuration in their order, then the domain's own metadata,
then the default. The host's bounds and its mode stand above all of them: bounds are
applied to the clock itself (see the arbiter), and a host that observes writes nothing
for anybody.

By default a guest may ask about its own vCPUs and send policies for them: the one tells
it no more than it could measure, the other does no more than its own requests could.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from orchestrator.limits import Limits
from orchestrator.values.domain_settings import DomainPolicy, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.config import Config
    from orchestrator.values.domain import DomainSpec

ValueT = TypeVar("ValueT")

HOST, METADATA, DEFAULT = "host", "metadata", "default"
"""Who said something, beside rules, which are named: `rule dpdk-*`."""


class Said(NamedTuple, Generic[ValueT]):
    """What holds, and by whose word."""

    value: ValueT
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What holds for one domain now."""

    min_khz: Said[int | None]
    """None: whatever the hardware and the host's bounds allow; so too `max_khz`."""
    max_khz: Said[int | None]
    turbo: Said[bool]
    mode: Said[Mode]
    policies: Said[str | None]
    """Policies for its vCPUs, in one line; None: nobody has written any."""
    onboard: Said[bool | None]
    """Whether it is to be onboarded, if a rule leaves that to it; None: nobody says."""
    queries: Said[bool]
    guest_policies: Said[bool]
    generation: Said[int | None]
    """None: found out from what the guest sends."""

    @property
    def limits(self) -> Limits:
        """What the domain's vCPUs may have, turbo and the host aside."""
        return Limits.of(self.min_khz.value, self.max_khz.value)


class _Word(NamedTuple):
    """Somebody who has something to say about a domain."""

    source: str
    policy: DomainPolicy


def resolve_rights(config: Config, spec: DomainSpec) -> Rights:
    """Decide what a domain may do."""
    words = _collect(config, spec)
    low: Said[int | None] = _first(words, lambda p: p.min_khz, None)
    high: Said[int | None] = _first(words, lambda p: p.max_khz, None)
    if low.value is not None and high.value is not None and low.value > high.value:
        # They come from two places: the one that stands higher drags the other.
        sources = [word.source for word in words]
        if sources.index(low.source) < sources.index(high.source):
            high = low
        else:
            low = high
    turbo = _first(words, lambda p: p.turbo, default=True)
    mode = _first(words, lambda p: p.mode, Mode.ENFORCE)
    return Rights(
        min_khz=low,
        max_khz=high,
        turbo=turbo if config.bounds.turbo else Said(value=False, source=HOST),
        queries=_first(words, lambda p: p.queries, default=True),
        guest_policies=_first(words, lambda p: p.guest_policies, default=True),
        generation=_first(words, lambda p: p.generation, None),
        mode=mode if config.mode is Mode.ENFORCE else Said(Mode.OBSERVE, HOST),
        policies=_first(words, lambda p: p.policies, None),
        onboard=_first(words, lambda p: p.onboard, None),
    )


def _collect(config: Config, spec: DomainSpec) -> list[_Word]:
    words = [
        _Word(f"rule {rule.match}", rule)
        for rule in config.domain
        if spec.is_named(rule.match)
    ]
    if spec.policy is not None:
        words.append(_Word(METADATA, spec.policy))
    return words


def _first(
    words: Sequence[_Word],
    read: Callable[[DomainPolicy], ValueT | None],
    default: ValueT,
) -> Said[ValueT]:
    for source, policy in words:
        value = read(policy)
        if value is not None:
            return Said(value, source)
    return Said(default, DEFAULT)
