# SPDX-License-Identifier: Apache-2.0
"""Proposes host CPUs for the vCPUs of a new domain, with reasons; pure.

Theory of operation: CPUs that share a core or a clock group form a *bundle*, because
domains within one affect each other: SMT siblings share the units of a core, and a
clock group runs at the highest request in it (at the highest step, if one of its CPUs
has no domain pinned to it). So whole free bundles are proposed, all from one NUMA node,
and the bundle of the first CPU is left to the host. Worse bundles are used only if the
better ones do not suffice, with a warning. The same host always leads to the same
proposal.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.values.cpuset import format_cpulist, name_all, name_cpus
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.power.cpus import HostCpu


class _Tier(IntEnum):
    """How suitable a bundle is, the best first."""

    ISOLATED = 0
    """Free, and isolated from host tasks by the kernel."""
    FREE = 1
    PLANNED = 2
    """A domain that is shut off is pinned to it."""
    SHARED = 3
    """A part of it is taken."""
    HOST = 4
    """Host tasks run on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The CPUs of a host, and what uses them."""

    cpus: tuple[HostCpu, ...]
    taken: Mapping[PCpu, str] = field(default_factory=dict)
    """CPUs that are not available, with their users."""
    planned: Mapping[PCpu, str] = field(default_factory=dict)
    """CPUs of domains that are shut off, with their users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A pinning, with its reasons."""

    pins: tuple[PCpu, ...]
    """The CPU of each vCPU."""
    emulator: frozenset[PCpu]
    """CPUs for QEMU's emulator threads; empty: none is left."""
    node: int | None
    """NUMA node of these CPUs, for the memory; None: several nodes."""
    reasons: tuple[str, ...]
    """Why these CPUs."""
    warnings: tuple[str, ...]
    """Drawbacks of the choice."""


@dataclass(frozen=True, slots=True)
class _Bundle:
    free: tuple[HostCpu, ...]
    """SMT siblings are adjacent."""
    tier: _Tier
    is_shared: bool
    """Whether its other CPUs are taken."""


@dataclass(frozen=True, slots=True)
class _Choice:
    cpus: tuple[HostCpu, ...]
    bundles: tuple[_Bundle, ...]

    @property
    def cost(self) -> tuple[int, int]:
        """Its worst tier, and how many CPUs it wastes."""
        offered = sum(len(bundle.free) for bundle in self.bundles)
        return max(it.tier for it in self.bundles), offered - len(self.cpus)


def propose(host: Host, vcpus: int, node: int | None = None) -> Proposal:
    """Choose a CPU for each vCPU.

    Args:
        host: the CPUs and their users.
        vcpus: how many CPUs are needed, at least 1.
        node: the NUMA node to use; None: the one that fits best.

    Raises:
        ConfigError: the host, or the node, has not enough free CPUs.
    """
    cpus = [cpu for cpu in host.cpus if node is None or cpu.node == node]
    choice = _choose_node(host, cpus, vcpus)
    if choice is None:
        raise ConfigError(_refuse(host, cpus, vcpus, node), hint=_HINT)
    nodes = {cpu.node for cpu in choice.cpus}
    return Proposal(
        pins=tuple(cpu.pcpu for cpu in choice.cpus),
        emulator=_place_emulator(host, choice),
        node=nodes.pop() if len(nodes) == 1 else None,
        reasons=tuple(_explain(host, choice)),
        warnings=tuple(_warn(host, choice)),
    )


_HINT = "choose CPUs with --pin, or do not pin the vCPUs: --pin none"


def _choose_node(host: Host, cpus: Sequence[HostCpu], vcpus: int) -> _Choice | None:
    choices = [
        ((*choice.cost, sum(len(it.free) for it in bundles), node), choice)
        for node in {cpu.node for cpu in cpus}
        for bundles in (_bundles(host, cpus, {node}),)
        if (choice := _choose(bundles, vcpus)) is not None
    ]
    if choices:
        # Of equal choices, the node with the fewest free CPUs: others may need more.
        return min(choices, key=lambda item: item[0])[1]
    return _choose(_bundles(host, cpus, {cpu.node for cpu in cpus}), vcpus)


def _choose(bundles: Sequence[_Bundle], vcpus: int) -> _Choice | None:
    """Choose whole bundles, the better tiers first, and a part of the last one."""
    chosen: list[_Bundle] = []
    missing = vcpus
    for tier in _Tier:
        offered = [bundle for bundle in bundles if bundle.tier is tier]
        for bundle in tuple(offered):
            if len(bundle.free) <= missing:
                chosen.append(bundle)
                offered.remove(bundle)
                missing -= len(bundle.free)
        if missing and offered:
            chosen.append(min(offered, key=lambda bundle: len(bundle.free)))
            missing = 0
        if not missing:
            cpus = [cpu for bundle in chosen for cpu in bundle.free]
            return _Choice(tuple(cpus[:vcpus]), tuple(chosen))
    return None


def _bundles(
    host: Host, cpus: Sequence[HostCpu], nodes: set[int]
) -> tuple[_Bundle, ...]:
    """Group the CPUs of some nodes that share a core or a clock group."""
    return tuple(
        _Bundle(
            free,
            _tier_of(host, members),
            any(cpu.pcpu in host.taken for cpu in members),
        )
        for members in _components(host.cpus)
        if (
            free := tuple(
                cpu
                for cpu in members
                if cpu in cpus and cpu.node in nodes and cpu.pcpu not in host.taken
            )
        )
    )


def _components(cpus: Sequence[HostCpu]) -> list[list[HostCpu]]:
    found: list[list[HostCpu]] = []
    for cpu in sorted(cpus, key=lambda it: (it.core, it.pcpu)):
        linked = [part for part in found if any(_is_linked(cpu, it) for it in part)]
        found = [part for part in found if part not in linked]
        found.append([*(it for part in linked for it in part), cpu])
    return sorted(found, key=lambda part: part[0].pcpu)


def _is_linked(one: HostCpu, other: HostCpu) -> bool:
    is_one_group = one.group is not None and one.group == other.group
    return one.core == other.core or is_one_group


def _tier_of(host: Host, members: Sequence[HostCpu]) -> _Tier:
    pcpus = {cpu.pcpu for cpu in members}
    is_isolated = all(cpu.is_isolated for cpu in members)
    has_isolated = any(cpu.is_isolated for cpu in host.cpus)
    # Host tasks run on CPUs that are not isolated; without isolation, at least on
    # the first.
    if min(it.pcpu for it in host.cpus) in pcpus or (has_isolated and not is_isolated):
        return _Tier.HOST
    if pcpus & host.taken.keys():
        return _Tier.SHARED
    if pcpus & host.planned.keys():
        return _Tier.PLANNED
    return _Tier.ISOLATED if is_isolated else _Tier.FREE


def _place_emulator(host: Host, choice: _Choice) -> frozenset[PCpu]:
    """Choose host CPUs for QEMU's emulator threads, which must not disturb vCPUs."""
    pins = {cpu.pcpu for cpu in choice.cpus}
    usable = [cpu for cpu in host.cpus if not cpu.is_isolated and cpu.pcpu not in pins]
    free = [cpu for cpu in usable if cpu.pcpu not in host.taken]
    if any(cpu.is_isolated for cpu in host.cpus):
        nodes = {cpu.node for cpu in choice.cpus}
        near = [cpu for cpu in free if cpu.node in nodes]
        return frozenset(cpu.pcpu for cpu in near or free or usable)
    first = next(iter(_components(host.cpus)))
    return frozenset(cpu.pcpu for cpu in first if cpu in usable) or frozenset(
        cpu.pcpu for cpu in (free or usable)[:1]
    )


def _explain(host: Host, choice: _Choice) -> Iterator[str]:
    pcpus = [cpu.pcpu for cpu in choice.cpus]
    nodes = sorted({cpu.node for cpu in choice.cpus})
    if len(nodes) == 1:
        yield f"free, and in NUMA node {nodes[0]}: {name_cpus(pcpus)}"
    cores = Counter(cpu.core for cpu in choice.cpus)
    if any(count > 1 for count in cores.values()):
        yield "SMT siblings together: no other domain shares a core with this one"
    groups = Counter(cpu.group for cpu in choice.cpus)
    is_apart = len(groups) == len(choice.cpus) and None not in groups
    if is_apart and not any(_coordinated_vcpus(choice.cpus)):
        yield "each vCPU has its own clock group"
    if all(bundle.tier is _Tier.ISOLATED for bundle in choice.bundles):
        yield "isolated (isolcpus): no host tasks run there"
    owners: dict[str, list[PCpu]] = {}
    for pcpu, owner in host.taken.items():
        owners.setdefault(owner, []).append(pcpu)
    for owner, owned in sorted(owners.items()):
        yield f"used by {owner}: {name_cpus(owned)}"


def _warn(host: Host, choice: _Choice) -> Iterator[str]:
    nodes = sorted({cpu.node for cpu in choice.cpus})
    if len(nodes) > 1:
        yield f"no NUMA node has enough free CPUs: spread over {format_cpulist(nodes)}"
    tiers = {bundle.tier for bundle in choice.bundles}
    pins = {cpu.pcpu for cpu in choice.cpus}
    if _Tier.HOST in tiers:
        yield "host tasks run on these CPUs, or share a core or a clock group with them"
    if any(bundle.is_shared for bundle in choice.bundles):
        yield "a core or a clock group is shared with other domains or programs"
    for pcpu in sorted(pins & host.planned.keys()):
        yield f"CPU {pcpu} is also used by {host.planned[pcpu]}, which is shut off"
    yield from _warn_about_clock_groups(host, choice.cpus)
    yield from _warn_about_coordination(host, choice.cpus)


def _warn_about_clock_groups(host: Host, chosen: Sequence[HostCpu]) -> Iterator[str]:
    unset = [cpu for cpu in chosen if cpu.group is None]
    for reason in dict.fromkeys(cpu.unmanaged for cpu in unset):
        cpus = name_cpus(cpu.pcpu for cpu in unset if cpu.unmanaged == reason)
        yield f"no frequency can be set: {cpus}{f' ({reason})' if reason else ''}"
    pins = {cpu.pcpu: vcpu for vcpu, cpu in enumerate(chosen)}
    for group in sorted({cpu.group for cpu in chosen if cpu.group is not None}):
        members = {cpu.pcpu for cpu in host.cpus if cpu.group == group}
        sharing = [vcpu for pcpu, vcpu in pins.items() if pcpu in members]
        if len(sharing) > 1:
            vcpus = name_all("vCPU", sharing)
            yield f"{vcpus} share a clock group: it runs at the highest request"
        idle = members - pins.keys() - host.taken.keys()
        if idle:
            yield (
                f"no domain is pinned to {name_cpus(idle)} of the same clock group: the"
                " frequency stays high unless power.share_with_host is set"
            )


def _warn_about_coordination(host: Host, chosen: Sequence[HostCpu]) -> Iterator[str]:
    together = [name_all("vCPU", vcpus) for vcpus in _coordinated_vcpus(chosen)]
    if together:
        yield (
            "the hardware coordinates the CPUs of these vCPUs, which run at the highest"
            f" request among them: {'; '.join(together)}"
        )
    groups = {cpu.group for cpu in chosen}
    pins = {cpu.pcpu for cpu in chosen}
    others = frozenset[PCpu]().union(*(cpu.coordinated for cpu in chosen)) - pins
    outside = others - {cpu.pcpu for cpu in host.cpus if cpu.group in groups}
    if outside:
        yield (
            f"the hardware coordinates them with {name_cpus(outside)}: a higher"
            " frequency there holds them up"
        )


def _coordinated_vcpus(chosen: Sequence[HostCpu]) -> list[list[int]]:
    """List the vCPUs of different clock groups whose CPUs the hardware coordinates."""
    found: dict[frozenset[PCpu], list[int]] = {}
    for vcpu, cpu in enumerate(chosen):
        if cpu.group is not None:
            found.setdefault(cpu.coordinated or frozenset({cpu.pcpu}), []).append(vcpu)
    return [
        vcpus
        for vcpus in found.values()
        if len({chosen[vcpu].group for vcpu in vcpus}) > 1
    ]


def _refuse(host: Host, cpus: Iterable[HostCpu], vcpus: int, node: int | None) -> str:
    free = [cpu.pcpu for cpu in cpus if cpu.pcpu not in host.taken]
    where = "this host" if node is None else f"NUMA node {node}"
    return (
        f"not enough free CPUs: {vcpus} needed, {where} has {len(free)}"
        f" ({format_cpulist(free)})"
    )
