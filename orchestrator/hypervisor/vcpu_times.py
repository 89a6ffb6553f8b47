"""For how long domains' vCPUs have run.

Theory of operation: many domains are asked for with one call, which costs us a tenth
of a call for each (measured, 50 domains: 3.4 ms of CPU a second for 32). That call
reaches into each QEMU: since libvirt 8.9 it asks KVM's statistics too, over QEMU's
monitor, and waits for as long as a QEMU does not answer, whatever is said of not
waiting: that is about a domain that somebody else works on already. The call for one
domain reads files of the kernel's, and waits for nobody. So who asks for many must be
ready to ask for each. And some QEMUs take every vCPU of KVM out of its guest to answer:
their domains are left out, because nobody's policy may cost a guest its time.

Source: virDomainListGetStats, virDomainGetVcpus; "kvm: reuse per-vcpu stats fd to avoid
vcpu interruption" of QEMU 8.1. For QEMU the time is the user and system time of the
vCPU's thread, in the kernel's ticks of 10 ms; guest time is part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import DomainXmlError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orchestrator.values.domain import DomainId

_NOT_SERVED = frozenset(
    {
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        # A flag that it does not know: libvirt before 4.5 would wait for any domain
        # that is worked on, half a minute each.
        libvirt.VIR_ERR_INVALID_ARG,
    }
)


_ASKS_QEMU = 8_009_000
"""From this libvirt on the call for many asks QEMU, if that has query-stats."""
_INTERRUPTING_QEMUS = range(7_001_000, 8_001_000)
"""Those that have it and take a vCPU of KVM out of its guest for it."""


class VCpuTimes:
    """What one connection tells of vCPUs' times.

    Synchronization: any thread.
    """

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection
        self._domains: dict[DomainId, libvirt.virDomain] = {}
        """libvirt's handles, kept: looking one up is a call as dear as the other."""
        self._is_served = True
        """Whether this libvirt answers for many at once, as far as is known."""
        self._is_gentle: dict[DomainId, bool] = {}
        """Whether a domain may be asked about with others."""

    def keep(self, uuids: Collection[DomainId]) -> None:
        """Forget all other domains."""
        for uuid in self._domains.keys() - set(uuids):
            self._domains.pop(uuid, None)
            self._is_gentle.pop(uuid, None)

    def read(self, uuid: DomainId) -> dict[int, int]:
        """Return nanoseconds by vCPU.

        Raises:
            libvirt.libvirtError: libvirt refused; the domain is not running.
        """
        infos, _masks = self._find(uuid).vcpus()
        return {number: run_ns for number, _state, run_ns, _pcpu in infos}

    def read_together(
        self, uuids: Collection[DomainId]
    ) -> dict[DomainId, dict[int, int]]:
        """Return nanoseconds by vCPU, of those of the domains that libvirt tells of.

        Those that have ended or vanished are left out, those whose QEMU would interrupt
        them, and all of them if this libvirt or its driver does not know how to answer.

        Raises:
            libvirt.libvirtError: the connection is lost, or libvirt refused.
        """
        if not self._is_served:
            return {}
        domains = [domain for uuid in uuids if (domain := self._find_gentle(uuid))]
        if not domains:
            return {}
        try:
            told = self._connection.domainListGetStats(
                domains,
                libvirt.VIR_DOMAIN_STATS_VCPU,
                libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
            )
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _NOT_SERVED:
                raise
            self._is_served = False
            return {}
        times = {domain.UUIDString(): _times(stats) for domain, stats in told}
        return {uuid: times[uuid] for uuid in uuids if times.get(uuid)}

    def _find(self, uuid: DomainId) -> libvirt.virDomain:
        domain = self._domains.get(uuid)
        if domain is None:
            domain = self._connection.lookupByUUIDString(uuid)
            self._domains[uuid] = domain
        return domain

    def _find_gentle(self, uuid: DomainId) -> libvirt.virDomain | None:
        try:
            domain = self._find(uuid)
            if uuid not in self._is_gentle:
                self._is_gentle[uuid] = not self._interrupts(domain)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            return None
        return domain if self._is_gentle[uuid] else None

    def _interrupts(self, domain: libvirt.virDomain) -> bool:
        versions = self._connection.getLibVersion(), self._connection.getVersion()
        return interrupts_kvm(*versions) and is_kvm(domain.XMLDesc())


def interrupts_kvm(libvirt_version: int, qemu_version: int) -> bool:
    """Say whether a call for many takes vCPUs of KVM out of their guests.

    Args:
        libvirt_version: as libvirt has it, 9000000 for 9.0.0.
        qemu_version: likewise, of the QEMU that libvirt starts now.
    """
    return libvirt_version >= _ASKS_QEMU and qemu_version in _INTERRUPTING_QEMUS


def is_kvm(xml: str) -> bool:
    """Say whether a domain runs, or may run, on KVM."""
    try:
        return parse_document(xml).get("type") == "kvm"
    except DomainXmlError:
        return True


def _times(stats: Mapping[str, object]) -> dict[int, int]:
    """Return nanoseconds by vCPU; empty for a domain that does not run."""
    online = (key.split(".")[1] for key in stats if key.endswith(".state"))
    return {
        int(number): run_ns
        for number in online
        if isinstance(run_ns := stats.get(f"vcpu.{number}.time"), int)
    }
