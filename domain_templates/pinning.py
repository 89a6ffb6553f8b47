"""Which CPUs a new domain should be pinned to, and why: a proposal, and nothing more.

Theory of operation: CPUs that share a core or a clock belong together in a *bundle*,
because whoever has one of them disturbs the others: SMT siblings share the core's
units, and a clock group gets what the most demanding of its vCPUs wants (with a CPU
that no domain is pinned to, even the highest step). So whole free bundles are given,
all from one NUMA node, and the bundle of the host's first CPU stays the host's. Worse
bundles are taken only where the better ones do not suffice, and that is said.

Everything here is a value: the same host always gives the same proposal.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.power.cpus import HostCpu
    from orchestrator.values.domain import PCpu


class _Tier(IntEnum):
    """How good a bundle is, the best first."""

    ISOLATED = 0
    """Free, and the kernel keeps the host's work away."""
    FREE = 1
    PLANNED = 2
    """A domain that is off is pinned there."""
    SHARED = 3
    """Somebody has a part of it."""
    HOST = 4
    """The host's own work is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The CPUs of a host, and who has them."""

    cpus: tuple[HostCpu, ...]
    taken: Mapping[PCpu, str] = field(default_factory=dict)
    """CPUs that are not to be had, and whose they are."""
    planned: Mapping[PCpu, str] = field(default_factory=dict)
    """CPUs of domains that are off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A pinning, with its reasons."""

    pins: tuple[PCpu, ...]
    """The CPU of each vCPU."""
    emulator: frozenset[PCpu]
    """For all of QEMU that is no vCPU; empty: there is no CPU for it."""
    node: int | None
    """Where all these CPUs are, and the memory should be; None: in several nodes."""
    reasons: tuple[str, ...]
    """Why these, for people."""
    warnings: tuple[str, ...]
    """What is not as good as it could be, and what it costs."""


@dataclass(frozen=True, slots=True)
class _Bundle:
    free: tuple[HostCpu, ...]
    """SMT siblings beside each other."""
    tier: _Tier
    is_shared: bool
    """Whether others have the rest of it."""


@dataclass(frozen=True, slots=True)
class _Choice:
    cpus: tuple[HostCpu, ...]
    bundles: tuple[_Bundle, ...]

    @property
    def cost(self) -> tuple[int, int]:
        """What is worst about it, and how many CPUs it makes useless for others."""
        offered = sum(len(bundle.free) for bundle in self.bundles)
        return max(it.tier for it in self.bundles), offered - len(self.cpus)


def propose(host: Host, vcpus: int, node: int | None = None) -> Proposal:
    """Choose a CPU for each vCPU.

    Args:
        host: the CPUs and who has them.
        vcpus: how many are needed, at least 1.
        node: the NUMA node to take them from; None: whichever fits best.

    Raises:
        ConfigError: the host, or the node, has not so many free CPUs.
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


_HINT = "choose with --pin, or let the vCPUs float with --pin none"


def _choose_node(host: Host, cpus: Sequence[HostCpu], vcpus: int) -> _Choice | None:
    choices = [
        ((*choice.cost, sum(len(it.free) for it in bundles), node), choice)
        for node in {cpu.node for cpu in cpus}
        for bundles in (_bundles(host, cpus, {node}),)
        if (choice := _choose(bundles, vcpus)) is not None
    ]
    if choices:
        # Of equal ones the node with the least to give: others may need more.
        return min(choices, key=lambda item: item[0])[1]
    return _choose(_bundles(host, cpus, {cpu.node for cpu in cpus}), vcpus)


def _choose(bundles: Sequence[_Bundle], vcpus: int) -> _Choice | None:
    """Fill whole bundles, the better tiers first; cut the last one if need be."""
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
    """Group the CPUs of some nodes that share a core or a clock."""
    return tuple(
        _Bundle(
            free,
            _judge(host, members),
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
    is_one_clock = one.group is not None and one.group == other.group
    return one.core == other.core or is_one_clock


def _judge(host: Host, members: Sequence[HostCpu]) -> _Tier:
    pcpus = {cpu.pcpu for cpu in members}
    is_isolated = all(cpu.is_isolated for cpu in members)
    has_isolated = any(cpu.is_isolated for cpu in host.cpus)
    # A host with isolated CPUs works on the others; without, at least on the first.
    if min(it.pcpu for it in host.cpus) in pcpus or (has_isolated and not is_isolated):
        return _Tier.HOST
    if pcpus & host.taken.keys():
        return _Tier.SHARED
    if pcpus & host.planned.keys():
        return _Tier.PLANNED
    return _Tier.ISOLATED if is_isolated else _Tier.FREE


def _place_emulator(host: Host, choice: _Choice) -> frozenset[PCpu]:
    """QEMU's own threads go to the host's CPUs, which no vCPU should wait for."""
    pins = {cpu.pcpu for cpu in choice.cpus}
    mine = [cpu for cpu in host.cpus if not cpu.is_isolated and cpu.pcpu not in pins]
    kept = [cpu for cpu in mine if cpu.pcpu not in host.taken]
    if any(cpu.is_isolated for cpu in host.cpus):
        nodes = {cpu.node for cpu in choice.cpus}
        near = [cpu for cpu in kept if cpu.node in nodes]
        return frozenset(cpu.pcpu for cpu in near or kept or mine)
    first = next(iter(_components(host.cpus)))
    return frozenset(cpu.pcpu for cpu in first if cpu in mine) or frozenset(
        cpu.pcpu for cpu in (kept or mine)[:1]
    )


def _explain(host: Host, choice: _Choice) -> Iterator[str]:
    pcpus = [cpu.pcpu for cpu in choice.cpus]
    nodes = sorted({cpu.node for cpu in choice.cpus})
    if len(nodes) == 1:
        yield f"free and together in NUMA node {nodes[0]}: {_name('CPU', pcpus)}"
    cores = Counter(cpu.core for cpu in choice.cpus)
    if any(count > 1 for count in cores.values()):
        yield "SMT siblings are together: no other domain shares a core with this one"
    groups = Counter(cpu.group for cpu in choice.cpus)
    if None not in groups and len(groups) == len(choice.cpus):
        yield "each vCPU has a clock of its own"
    if all(bundle.tier is _Tier.ISOLATED for bundle in choice.bundles):
        yield "they are isolated (isolcpus): the host runs nothing there by itself"
    owners: dict[str, list[PCpu]] = {}
    for pcpu, owner in host.taken.items():
        owners.setdefault(owner, []).append(pcpu)
    for owner, theirs in sorted(owners.items()):
        yield f"taken by {owner}: {_name('CPU', theirs)}"


def _warn(host: Host, choice: _Choice) -> Iterator[str]:
    nodes = sorted({cpu.node for cpu in choice.cpus})
    if len(nodes) > 1:
        yield f"no NUMA node has so many free CPUs: they are in {format_cpulist(nodes)}"
    tiers = {bundle.tier for bundle in choice.bundles}
    pins = {cpu.pcpu for cpu in choice.cpus}
    if _Tier.HOST in tiers:
        yield "the host's own work shares CPUs, or their core or clock, with it"
    if any(bundle.is_shared for bundle in choice.bundles):
        yield "a core or a clock is shared with others that are pinned there"
    for pcpu in sorted(pins & host.planned.keys()):
        yield f"CPU {pcpu} is also that of {host.planned[pcpu]}, which is off now"
    yield from _warn_of_clocks(host, choice.cpus)


def _warn_of_clocks(host: Host, chosen: Sequence[HostCpu]) -> Iterator[str]:
    unset = [cpu.pcpu for cpu in chosen if cpu.group is None]
    if unset:
        yield f"no clock can be set, for lack of cpufreq: {_name('CPU', unset)}"
    pins = {cpu.pcpu: vcpu for vcpu, cpu in enumerate(chosen)}
    for group in sorted({cpu.group for cpu in chosen if cpu.group is not None}):
        members = {cpu.pcpu for cpu in host.cpus if cpu.group == group}
        sharing = [vcpu for pcpu, vcpu in pins.items() if pcpu in members]
        if len(sharing) > 1:
            vcpus = _name("vCPU", sharing)
            yield f"{vcpus} share a clock, which is as high as one of them wants"
        idle = members - pins.keys() - host.taken.keys()
        if idle:
            yield (
                f"{_name('CPU', idle)} of the same clock with no domain pinned there:"
                " the clock stays high unless share_with_host is set"
            )


def _name(word: str, numbers: Iterable[int]) -> str:
    named = format_cpulist(numbers)
    return f"{word} {named}" if named.isdecimal() else f"{word}s {named}"


def _refuse(host: Host, cpus: Iterable[HostCpu], vcpus: int, node: int | None) -> str:
    free = [cpu.pcpu for cpu in cpus if cpu.pcpu not in host.taken]
    where = "this host" if node is None else f"NUMA node {node}"
    return (
        f"{vcpus} vCPUs need as many free CPUs, and {where} has {len(free)}"
        f" ({format_cpulist(free)})"
    )
