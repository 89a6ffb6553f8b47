# SPDX-License-Identifier: Apache-2.0
"""Pins vCPUs to host CPUs, and reads which are pinned where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import libvirt

from orchestrator.errors import HypervisorError
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.values.cpuset import format_cpulist, name_all, name_cpus
from orchestrator.values.domain import PCpu, VCpu

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.values.domain import DomainId


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedDomain:
    """A domain with pinned vCPUs, and the host CPUs that they are pinned to."""

    name: str
    is_active: bool
    pcpus: frozenset[PCpu]
    """CPUs of vCPUs that may run anywhere are not included."""


def list_pinned(connection: libvirt.virConnect) -> tuple[PinnedDomain, ...]:
    """List the domains that have pinned vCPUs.

    Raises:
        HypervisorError: libvirt refused.
    """
    with translated():
        domains = connection.listAllDomains(0)
    return tuple(filter(None, map(_read_pinned, domains)))


def list_vcpus_on(
    connection: libvirt.virConnect, cpu: int, uuid: DomainId
) -> tuple[tuple[str, VCpu], ...]:
    """List the vCPUs that are pinned to one host CPU and to no other, by domain.

    Args:
        connection: to libvirt.
        cpu: the host CPU.
        uuid: a domain; of others, only those that are running count.

    Raises:
        HypervisorError: libvirt refused.
    """
    with translated():
        domains = connection.listAllDomains(0)
    return tuple(
        (domain.name(), VCpu(vcpu))
        for domain in domains
        for vcpu, mask in enumerate(_read_pinning(domain, uuid))
        if mask == (cpu,)
    )


def check_cpus(connection: libvirt.virConnect, cpus: Collection[int]) -> None:
    """Check that host CPUs exist; they may be offline.

    Raises:
        HypervisorError: one does not, or libvirt refused.
    """
    with translated():
        count = connection.getCPUMap(0)[0]
    _check_exist(cpus, count)


def pin(
    connection: libvirt.virConnect,
    uuid: DomainId,
    vcpu: VCpu,
    cpus: Collection[int],
    *,
    live: bool = False,
    config: bool = False,
) -> None:
    """Pin a vCPU to host CPUs.

    Args:
        connection: to libvirt.
        uuid: the domain.
        vcpu: one of its vCPUs.
        cpus: host CPUs that it may run on.
        live: in the running domain.
        config: in its definition. With neither: in the running domain, or in the
            definition if it is off.

    Raises:
        HypervisorError: libvirt refused, or no such vCPU or host CPU.
    """
    flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if live else 0
    flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG if config else 0
    with translated():
        mask = _mask(connection, cpus)
        domain = connection.lookupByUUIDString(uuid)
    try:
        with translated():
            domain.pinVcpuFlags(vcpu, mask, flags)
    except HypervisorError as error:
        off = _off(domain) if live else ""
        error.hint = error.hint or off or _missing_vcpu(domain, vcpu)
        raise


def _mask(connection: libvirt.virConnect, cpus: Collection[int]) -> tuple[bool, ...]:
    count = connection.getCPUMap(0)[0]
    if not cpus:
        raise HypervisorError(
            "a vCPU needs at least one CPU", hint="give a CPU list, as in 2-5,8"
        )
    _check_exist(cpus, count)
    return tuple(cpu in cpus for cpu in range(count))


def _check_exist(cpus: Collection[int], count: int) -> None:
    absent = [cpu for cpu in cpus if cpu >= count]
    if absent:
        # libvirt would ignore these, and pin to the others.
        raise HypervisorError(
            f"no such host CPU: {format_cpulist(absent)}",
            hint=f"the host has {name_cpus(range(count))}",
        )


def _read_pinning(domain: libvirt.virDomain, uuid: str) -> list[tuple[int, ...]]:
    """Return the host CPUs of each vCPU; none of a domain that does not count."""
    try:
        is_active = bool(domain.isActive())
        if not is_active and domain.UUIDString() != uuid:
            return []
        masks = domain.vcpuPinInfo(0 if is_active else libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    except libvirt.libvirtError:
        return []  # undefined, started or stopped meanwhile
    return [tuple(cpu for cpu, may in enumerate(mask) if may) for mask in masks]


def _read_pinned(domain: libvirt.virDomain) -> PinnedDomain | None:
    try:
        is_active = bool(domain.isActive())
        masks = domain.vcpuPinInfo(0 if is_active else libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    except libvirt.libvirtError:
        return None  # undefined, started or stopped meanwhile
    pinned = (
        {PCpu(cpu) for cpu, is_allowed in enumerate(mask) if is_allowed}
        for mask in masks
        if not all(mask)
    )
    pcpus = frozenset[PCpu]().union(*pinned)
    if not pcpus:
        return None
    return PinnedDomain(name=domain.name(), is_active=is_active, pcpus=pcpus)


def _off(domain: libvirt.virDomain) -> str:
    """Return what can be changed of a domain that is not running, as a hint."""
    try:
        return "" if domain.isActive() else "without --live, its definition is changed"
    except libvirt.libvirtError:
        return ""


def _missing_vcpu(domain: libvirt.virDomain, vcpu: int) -> str:
    """List the vCPUs of a domain as a hint, if it lacks this one."""
    try:
        present = range(domain.vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_CURRENT))
    except libvirt.libvirtError:
        return ""
    return "" if vcpu in present else f"the domain has {name_all('vCPU', present)}"
