# SPDX-License-Identifier: Apache-2.0
"""The effective settings of one domain, and the source of each.

Theory of operation: each setting is decided by the first source that gives it: the
matching rules of the host's configuration in their order, then the domain's own
metadata, then the default. The host's bounds and its mode take precedence over all of
them: bounds are applied to the frequency itself (see `limits`), and a host in observe
mode writes nothing. The host's energy preference is a default of all domains, and its
idle latency an upper limit.

By default a guest may query its own vCPUs and its energy, and send policies: a query
reports little more than it could measure, a policy does no more than its own requests
could.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.values.domain_settings import SETTINGS, DomainSettings, Mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.config import Config
    from orchestrator.values.domain import DomainSpec
    from orchestrator.values.domain_settings import Setting

ValueT = TypeVar("ValueT")

HOST, METADATA, DEFAULT = "host", "metadata", "default"
"""Sources beside rules, which are named: `rule dpdk-*`."""


class Resolved(NamedTuple, Generic[ValueT]):
    """An effective value and its source."""

    value: ValueT
    source: str


@dataclass(frozen=True, slots=True)
class Rights:
    """The effective settings of one domain, by name; see `values.domain_settings`."""

    resolved: Mapping[str, Resolved[Any]]

    def __getitem__(self, name: str) -> Resolved[Any]:
        """Return a setting."""
        return self.resolved[name]

    @property
    def turbo(self) -> Resolved[bool]:
        """Whether its vCPUs may use turbo."""
        return self.resolved["turbo"]

    @property
    def mode(self) -> Resolved[Mode]:
        """Whether its requests change frequencies."""
        return self.resolved["mode"]

    @property
    def is_enforced(self) -> bool:
        """Whether its mode is `enforce`; otherwise it is only observed."""
        return self.mode.value is Mode.ENFORCE

    @property
    def policies(self) -> Resolved[str | None]:
        """Policies for its vCPUs, in one line; None: none are given."""
        return self.resolved["policies"]

    @property
    def onboard(self) -> Resolved[bool | None]:
        """Whether it requests channels, if a rule depends on that; None: neither."""
        return self.resolved["onboard"]

    @property
    def generation(self) -> Resolved[int | None]:
        """Bytes of its guest's packets; None: detected from what the guest sends."""
        return self.resolved["generation"]

    @property
    def limits(self) -> Limits:
        """The limits of its vCPUs' frequencies, turbo and the host aside."""
        return Limits.of(self["min_khz"].value, self["max_khz"].value)

    @property
    def permissions(self) -> tuple[str, ...]:
        """Names of the settings that permit its guest something, and do."""
        return tuple(
            name
            for name, setting in SETTINGS.items()
            if setting.is_permission and self[name].value
        )


class _Source(NamedTuple):
    """Where settings of a domain come from."""

    name: str
    settings: DomainSettings


def resolve_rights(config: Config, spec: DomainSpec) -> Rights:
    """Decide the settings of a domain."""
    sources = _collect(config, spec)
    resolved = {name: _first(sources, setting) for name, setting in SETTINGS.items()}
    low, high = resolved["min_khz"], resolved["max_khz"]
    if low.value is not None and high.value is not None and low.value > high.value:
        # They come from two sources; that of higher precedence decides both.
        names = [source.name for source in sources]
        is_low_first = names.index(low.source) < names.index(high.source)
        resolved["min_khz"] = resolved["max_khz"] = low if is_low_first else high
    host_us, own = config.idle.max_latency_us, resolved["idle_latency_us"]
    if host_us is not None and (own.value is None or host_us < own.value):
        resolved["idle_latency_us"] = Resolved(host_us, HOST)
    if resolved["epp"].value is None and config.epp.preference is not None:
        resolved["epp"] = Resolved(config.epp.preference, HOST)
    if not config.bounds.turbo:
        resolved["turbo"] = Resolved(value=False, source=HOST)
    if config.mode is not Mode.ENFORCE:
        resolved["mode"] = Resolved(Mode.OBSERVE, HOST)
    return Rights(resolved)


def is_limited(rights: Rights) -> bool:
    """Whether a domain may not have every frequency that the host permits."""
    if not rights.is_enforced:
        return False
    lacks_turbo = not rights.turbo.value and rights.turbo.source != HOST
    return lacks_turbo or rights.limits != NO_LIMITS


def _collect(config: Config, spec: DomainSpec) -> list[_Source]:
    sources = [
        _Source(f"rule {rule.match}", rule)
        for rule in config.domain
        if spec.is_named(rule.match)
    ]
    if spec.settings is not None:
        sources.append(_Source(METADATA, spec.settings))
    return sources


def _first(sources: Sequence[_Source], setting: Setting) -> Resolved[Any]:
    for source in sources:
        value = getattr(source.settings, setting.name)
        if value is not None:
            return Resolved(value, source.name)
    return Resolved(setting.default, DEFAULT)
