"""For how long a domain's vCPUs have run.

Source: virDomainGetVcpus. For QEMU it is the user and system time of the vCPU's thread,
in the kernel's ticks of 10 ms; guest time is part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import libvirt

    from orchestrator.domain import DomainId


def read_vcpu_times(connection: libvirt.virConnect, uuid: DomainId) -> dict[int, int]:
    """Return nanoseconds by vCPU.

    Raises:
        libvirt.libvirtError: libvirt refused; the domain is not running.
    """
    infos, _masks = connection.lookupByUUIDString(uuid).vcpus()
    return {number: run_ns for number, _state, run_ns, _pcpu in infos}
