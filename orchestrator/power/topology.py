# SPDX-License-Identifier: Apache-2.0
"""Which CPUs share a frequency, and which cannot be managed, with the reason.

The kernel's `policyN` directories are the clock groups. A CPU without a usable one is
unmanaged, which is never an error: hosts have offline CPUs, unsupported scaling
drivers, and often no cpufreq at all.

Source: Documentation/admin-guide/pm/cpufreq.rst of the kernel, "Policy Interface in
sysfs"; for locations Documentation/ABI/stable/sysfs-devices-system-cpu (topology/,
nodeN).
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, NoCpufreqError, SysfsError
from orchestrator.power.coordination import read_coordinated
from orchestrator.power.group import ClockGroup
from orchestrator.power.mechanisms.registry import choose_mechanism
from orchestrator.power.steps import read_steps
from orchestrator.power.sysfs import CPU_DIR, policy_path
from orchestrator.values.cpuset import format_cpulist, parse_cpulist
from orchestrator.values.domain import PCpu
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from orchestrator.power.sysfs import CpuTree

OFFLINE = "offline"
NO_CPUFREQ = "no cpufreq: the kernel has no scaling driver for this CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuLocation:
    """Location of a CPU, as far as it is known."""

    core: PCpu
    """The lowest CPU of its core; the same for SMT siblings."""
    package: int | None = None
    """Its socket; None: unknown."""
    node: int | None = None
    """Its NUMA node; None: unknown, or a kernel without NUMA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The clock groups to which the requests of a vCPU apply, or why there is none."""

    group: ClockGroup | None = None
    siblings: tuple[ClockGroup, ...] = ()
    """The groups of the other threads of the core that it is pinned to, ascending; all
    of them have the same steps."""
    refusal: Refusal | None = None
    """Why its requests are refused; None: they are not."""
    reason: str = ""
    """The same, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A snapshot of all CPUs of a tree."""

    groups: tuple[ClockGroup, ...]
    """Ascending by number."""
    unmanaged: Mapping[PCpu, str]
    """CPUs in no group, with the reason, for people."""
    online: frozenset[PCpu]
    locations: Mapping[PCpu, CpuLocation] = field(default_factory=dict)
    """Location of each online CPU."""
    coordinated: Mapping[PCpu, frozenset[PCpu]] = field(default_factory=dict)
    """For each online CPU, those whose frequency the hardware coordinates with it,
    itself included: all run at the highest frequency that is set for one of them."""
    _groups_by_pcpu: Mapping[PCpu, ClockGroup] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Index the groups: each vCPU of each domain is assigned to one."""
        by_pcpu = {pcpu: group for group in self.groups for pcpu in group.pcpus}
        object.__setattr__(self, "_groups_by_pcpu", by_pcpu)

    def group_of(self, pcpu: PCpu) -> ClockGroup | None:
        """Return the group of a CPU; None: its frequency cannot be set."""
        return self._groups_by_pcpu.get(pcpu)

    def group(self, number: int) -> ClockGroup | None:
        """Return the group of policyN."""
        return next((group for group in self.groups if group.number == number), None)

    def coordinated_with(self, group: ClockGroup) -> frozenset[PCpu]:
        """Return the CPUs outside a group that are coordinated with one of its CPUs."""
        members = (self.coordinated.get(p, frozenset()) for p in group.pcpus)
        return frozenset[PCpu]().union(*members) - group.pcpus

    def assign(self, pinning: frozenset[PCpu]) -> Assignment:
        """Find the clock group, or the threads of a core, that a vCPU is pinned to."""
        online = pinning & self.online
        # Without any clock group, no pinning makes a vCPU controllable.
        groups = {self.group_of(pcpu) for pcpu in online} if self.groups else {None}
        if groups == {None}:
            return self._unmanaged(online or self.online)
        if not pinning:
            return _floating("its pinning is unknown to libvirt")
        if not online:
            offline = format_cpulist(pinning)
            return _floating(f"pinned to offline CPUs only: {offline}")
        first, *siblings = sorted(filter(None, groups), key=lambda group: group.number)
        if len(groups) > 1 and not self._are_threads(groups):
            cpus = format_cpulist(online)
            return _floating(f"floats over CPUs {cpus}: pin it to one clock group")
        return Assignment(group=first, siblings=tuple(siblings))

    def _are_threads(self, groups: Collection[ClockGroup | None]) -> bool:
        """Return whether groups are threads of one core: the hardware has one clock."""
        known = [group for group in groups if group is not None]
        pcpus = {pcpu for group in known for pcpu in group.pcpus}
        locations = {self.locations.get(pcpu) for pcpu in pcpus}
        cores = {location and location.core for location in locations}
        is_one_core = len(cores) == 1 and None not in cores
        has_same_steps = len({group.steps for group in known}) == 1
        return is_one_core and has_same_steps and len(known) == len(groups)

    def _unmanaged(self, pcpus: frozenset[PCpu]) -> Assignment:
        reasons = (self.unmanaged.get(pcpu) for pcpu in sorted(pcpus))
        reason = next(filter(None, reasons), NO_CPUFREQ)
        return Assignment(refusal=Refusal.UNMANAGED, reason=reason)


def _floating(reason: str) -> Assignment:
    return Assignment(refusal=Refusal.FLOATING, reason=reason)


def read_topology(tree: CpuTree) -> Topology:
    """Read all clock groups, and the reason for each CPU that is in none.

    Raises:
        SysfsError: not a CPU tree: it does not list the online CPUs.
    """
    online = tree.online()
    present = _read_present(tree, online)
    reasons: dict[PCpu, str] = {}
    groups = []
    identities = _read_policies(tree)
    policies = {
        number: pcpus
        for number in identities
        if (pcpus := _read_pcpus(tree, number) & online)
    }
    for number, pcpus in policies.items():
        try:
            groups.append(_read_group(tree, number, identities[number], pcpus))
        except (SysfsError, NoCpufreqError) as error:
            reasons.update(dict.fromkeys(pcpus, str(error)))
    managed = {pcpu for group in groups for pcpu in group.pcpus}
    for pcpu in present - managed - reasons.keys():
        reasons[pcpu] = NO_CPUFREQ if pcpu in online else OFFLINE
    locations = {pcpu: read_location(tree, pcpu) for pcpu in online}
    cores = {pcpu: location.core for pcpu, location in locations.items()}
    return Topology(
        groups=tuple(groups),
        unmanaged=dict(sorted(reasons.items())),
        online=online,
        locations=locations,
        coordinated=read_coordinated(tree, policies, cores),
    )


def read_outline(tree: CpuTree) -> tuple[frozenset[PCpu], Mapping[int, int]]:
    """Read the online CPUs, and the identities of policies by number.

    If they are unchanged, the topology is unchanged, too.

    This takes two reads, whatever the number of CPUs; `read_topology` takes ten for
    each group, 40 ms for 512 groups.

    Raises:
        SysfsError: as `read_topology`.
    """
    return tree.online(), _read_policies(tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """Current frequency and governor of a clock group."""

    current_khz: int | None
    """None: unknown."""
    governor: str


def read_clocks(tree: CpuTree, groups: Iterable[ClockGroup]) -> dict[int, ClockReading]:
    """Read frequencies and governors; an unreadable governor is the last known one."""
    readings = {}
    for group in groups:
        try:
            governor = read_governor(tree, group)
        except SysfsError:  # its CPUs are offline
            governor = group.governor
        khz = read_current_khz(tree, group)
        readings[group.number] = ClockReading(current_khz=khz, governor=governor)
    return readings


def read_current_khz(tree: CpuTree, group: ClockGroup) -> int | None:
    """Read the current frequency as the kernel reports it; None: unknown."""
    return tree.read_khz(group.path("scaling_cur_freq"))


def read_governor(tree: CpuTree, group: ClockGroup) -> str:
    """Read the active governor.

    Raises:
        SysfsError: it cannot be read; EBUSY: all CPUs of the group are offline.
    """
    return tree.read(group.path("scaling_governor"))


def _read_present(tree: CpuTree, online: frozenset[PCpu]) -> frozenset[PCpu]:
    try:
        return tree.present() | online
    except SysfsError:
        return online


def _read_policies(tree: CpuTree) -> dict[int, int]:
    """Return the identity of each policy, ascending by number."""
    found = {}
    with (
        contextlib.suppress(FileNotFoundError),
        os.scandir(tree.cpu_dir / "cpufreq") as entries,
    ):
        for entry in entries:
            word = entry.name.removeprefix("policy")
            if word != entry.name and word.isascii() and word.isdigit():
                found[int(word)] = entry.inode()
    return dict(sorted(found.items()))


def _read_pcpus(tree: CpuTree, number: int) -> frozenset[PCpu]:
    try:
        words = tree.read(policy_path(number, "affected_cpus")).split()
    except SysfsError:  # a policy whose CPUs are all offline answers EBUSY
        return frozenset()
    return frozenset(PCpu(int(w)) for w in words if w.isascii() and w.isdigit())


def _read_group(
    tree: CpuTree, number: int, identity: int, pcpus: frozenset[PCpu]
) -> ClockGroup:
    steps = read_steps(tree, number)
    return ClockGroup(
        number=number,
        pcpus=pcpus,
        driver=tree.read(policy_path(number, "scaling_driver")),
        mechanism=choose_mechanism(tree, number),
        identity=identity,
        governor=tree.read(policy_path(number, "scaling_governor")),
        min_khz=_read_bound(tree, number, "min") or steps.lowest_khz,
        max_khz=_read_bound(tree, number, "max") or steps.highest_khz,
        steps=steps,
        is_simulated=tree.is_simulated,
    )


def _read_bound(tree: CpuTree, number: int, word: str) -> int | None:
    scaling = tree.read_khz(policy_path(number, f"scaling_{word}_freq"))
    return scaling or tree.read_khz(policy_path(number, f"cpuinfo_{word}_freq"))


def read_location(tree: CpuTree, pcpu: PCpu) -> CpuLocation:
    """Read the location of a CPU, as far as it is known."""
    return CpuLocation(
        core=_read_core(tree, pcpu),
        package=_read_package(tree, pcpu),
        node=_read_node(tree, pcpu),
    )


def _read_core(tree: CpuTree, pcpu: PCpu) -> PCpu:
    path = f"{CPU_DIR}/cpu{pcpu}/topology/thread_siblings_list"
    try:
        return PCpu(min(parse_cpulist(tree.read(path)), default=pcpu))
    except (SysfsError, ConfigError):
        return pcpu


def _read_package(tree: CpuTree, pcpu: PCpu) -> int | None:
    path = f"{CPU_DIR}/cpu{pcpu}/topology/physical_package_id"
    try:
        word = tree.read(path)
    except SysfsError:
        return None
    # Some virtual machines report -1.
    return int(word) if word.isascii() and word.isdigit() else None


def _read_node(tree: CpuTree, pcpu: PCpu) -> int | None:
    for path in (tree.cpu_dir / f"cpu{pcpu}").glob("node*"):
        if re.fullmatch(r"node[0-9]{1,5}", path.name):
            return int(path.name.removeprefix("node"))
    return None
