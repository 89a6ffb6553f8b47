# SPDX-License-Identifier: Apache-2.0
"""Domains, as the daemon knows them, otherwise as libvirt does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.values.domain import ChannelKind
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.control.documents import Rights, Status
    from orchestrator.power.topology import Topology
    from orchestrator.values.domain import DomainSpec, PCpu

_INACTIVE = ("shut off", "crashed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vcpu:
    """A vCPU and its host CPUs."""

    number: int
    pcpus: frozenset[int]
    group: int | None
    """Its clock group; None: not in exactly one."""
    reason: str
    """Why `group` is None; otherwise empty."""
    is_floating: bool = False
    """Whether another pinning gives it a clock group."""
    siblings: tuple[int, ...] = ()
    """Clock groups of the other threads of its core that it is pinned to."""

    @property
    def groups(self) -> tuple[int, ...]:
        """All clock groups that its requests apply to."""
        return () if self.group is None else (self.group, *self.siblings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel and its state."""

    number: int
    path: str
    """Empty: none at present."""
    state: str
    """As in `vmpower status`; empty: not known without the daemon."""
    reason: str
    generation: int | None
    """Size of the guest's packets in bytes; None: not known, or it has none."""
    is_p_states: bool = False
    """Whether it carries requests of the guest's own cpufreq driver."""
    requests: int | None = None
    """How many requests the guest has sent; None: not known without the daemon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One domain."""

    name: str
    is_active: bool
    vcpus: tuple[Vcpu, ...]
    channels: tuple[Channel, ...]
    problems: tuple[str, ...]
    """Problems with its XML, metadata or onboarding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """All domains."""

    domains: tuple[Domain, ...]

    def active(self) -> Iterable[Domain]:
        """Return the running domains."""
        return (domain for domain in self.domains if domain.is_active)

    def managed(self) -> Iterable[Domain]:
        """Return the running domains that have channels."""
        return (domain for domain in self.active() if domain.channels)


def domains_of_status(status: Status) -> Domains:
    """Read domains from the daemon's status."""
    return Domains(
        domains=tuple(
            Domain(
                name=domain["name"],
                is_active=domain["state"] not in _INACTIVE,
                vcpus=tuple(
                    Vcpu(
                        number=vcpu["vcpu"],
                        pcpus=frozenset(vcpu["pcpus"]),
                        group=vcpu["clock_group"],
                        reason=vcpu["reason"] or "",
                        # A daemon of another version may not report it.
                        is_floating=vcpu.get("refusal") == Refusal.FLOATING.word,
                        siblings=tuple(vcpu.get("clock_groups", ())[1:]),
                    )
                    for vcpu in domain["vcpus"]
                ),
                channels=tuple(
                    _channel(channel, domain["rights"])
                    for channel in domain["channels"]
                ),
                problems=tuple(domain["problems"]),
            )
            for domain in status["domains"]
        )
    )


def _channel(channel: Mapping[str, Any], rights: Rights | None) -> Channel:
    configured = rights["generation"]["value"] if rights else None
    # A daemon of another version may not report these.
    is_p_states = channel.get("kind") == ChannelKind.P_STATES
    generation = channel.get("generation") or configured
    return Channel(
        number=channel["number"],
        path=channel["path"] or "",
        state=channel["state"],
        reason=channel["reason"] or "",
        generation=None if is_p_states else generation,
        is_p_states=is_p_states,
        requests=channel["requests_total"],
    )


def domains_of_libvirt(specs: Iterable[DomainSpec], topology: Topology) -> Domains:
    """Read domains from libvirt, and find their clock groups as the daemon would."""
    return Domains(domains=tuple(_domain(spec, topology) for spec in specs))


def _domain(spec: DomainSpec, topology: Topology) -> Domain:
    return Domain(
        name=spec.name,
        is_active=spec.state.is_active,
        vcpus=tuple(
            _vcpu(item.vcpu, item.pinning, topology)
            for item in (spec.vcpus if spec.state.is_active else ())
        ),
        channels=tuple(
            Channel(
                number=item.number,
                path=item.path or "",
                state="",
                reason="",
                generation=spec.settings.generation
                if spec.settings and item.kind is ChannelKind.AGENT
                else None,
                is_p_states=item.kind is ChannelKind.P_STATES,
            )
            for item in spec.channels
        ),
        problems=spec.problems,
    )


def _vcpu(number: int, pinning: frozenset[PCpu], topology: Topology) -> Vcpu:
    found = topology.assign(pinning)
    return Vcpu(
        number=number,
        pcpus=frozenset[int](pinning & topology.online),
        group=found.group.number if found.group else None,
        reason=found.reason,
        is_floating=found.refusal is Refusal.FLOATING,
        siblings=tuple(group.number for group in found.siblings),
    )
