"""What the command does with the operator's own rights: define, start, pin.

The daemon never does these for anybody: who may define a domain is root, in effect.

Source: virsh's way to find a domain (id, UUID, name) and its --live, --config and
--current.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import libvirt

from orchestrator.cpuset import format_cpulist
from orchestrator.domain import DomainId
from orchestrator.errors import DomainGone, HypervisorError
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.translation import translated
from orchestrator.hypervisor.uri import check_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import TracebackType

    from orchestrator.domain import VCpu


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDomain:
    """A domain that was looked up."""

    uuid: DomainId
    name: str
    is_active: bool
    is_persistent: bool


class OperatorConnection:
    """A read-write connection for one command.

    Synchronization: one thread. Every call may block for as long as libvirt does.
    """

    def __init__(self, uri: str) -> None:
        """Connect.

        Raises:
            ConfigError: the URI leads to another machine or nowhere.
            HypervisorError: libvirt is not there, or refuses us.
        """
        self.uri = check_uri(uri)
        ensure_event_loop()
        with translated():
            self._connection = libvirt.open(uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def find(self, word: str) -> FoundDomain:
        """Find a domain by its id, its UUID or its name, in this order.

        Raises:
            DomainGone: there is none.
            HypervisorError: libvirt refused.
        """
        with translated():
            return _facts(self._look_up(word))

    def define(self, xml: str) -> FoundDomain:
        """Define a domain, or define it anew.

        Raises:
            HypervisorError: libvirt refused the XML.
        """
        with translated():
            return _facts(self._connection.defineXML(xml))

    def start(self, uuid: DomainId) -> None:
        """Start a domain.

        Raises:
            HypervisorError: libvirt refused, it runs already, or it is gone.
        """
        with translated():
            self._connection.lookupByUUIDString(uuid).create()

    def pin(
        self,
        uuid: DomainId,
        vcpu: VCpu,
        cpus: Collection[int],
        *,
        live: bool = False,
        config: bool = False,
    ) -> None:
        """Pin a vCPU to host CPUs.

        Args:
            uuid: the domain.
            vcpu: one of its vCPUs.
            cpus: host CPUs that it may run on from now on.
            live: in the running domain.
            config: in its definition. With neither: in the running domain, or in the
                definition of one that is off.

        Raises:
            HypervisorError: libvirt refused, or the host has no such CPU.
        """
        flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if live else 0
        flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG if config else 0
        with translated():
            mask = self._mask(cpus)
            domain = self._connection.lookupByUUIDString(uuid)
            domain.pinVcpuFlags(vcpu, mask, flags)

    def close(self) -> None:
        """Disconnect."""
        with suppress(libvirt.libvirtError):
            self._connection.close()

    def _mask(self, cpus: Collection[int]) -> tuple[bool, ...]:
        count = self._connection.getCPUMap(0)[0]
        if not cpus:
            raise HypervisorError("a vCPU needs at least one CPU to run on")
        absent = [cpu for cpu in cpus if cpu >= count]
        if absent:
            # libvirt would ignore those beyond its map, and pin to the rest.
            raise HypervisorError(
                f"the host has no CPU {format_cpulist(absent)}",
                hint=f"it has {format_cpulist(range(count))}",
            )
        return tuple(cpu in cpus for cpu in range(count))

    def _look_up(self, word: str) -> libvirt.virDomain:
        for look_up in self._ways_to(word):
            try:
                return look_up()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        raise DomainGone(f"no domain '{word}'", code=libvirt.VIR_ERR_NO_DOMAIN)

    def _ways_to(self, word: str) -> Iterator[Callable[[], libvirt.virDomain]]:
        if word.isascii() and word.isdigit() and len(word) < 10:
            yield lambda: self._connection.lookupByID(int(word))
        if len(word) == 36:
            yield lambda: self._look_up_uuid(word)
        yield lambda: self._connection.lookupByName(word)

    def _look_up_uuid(self, word: str) -> libvirt.virDomain:
        try:
            return self._connection.lookupByUUIDString(word)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG:
                return self._connection.lookupByName(word)  # a name as long as a UUID
            raise


def _facts(domain: libvirt.virDomain) -> FoundDomain:
    return FoundDomain(
        uuid=DomainId(domain.UUIDString()),
        name=domain.name(),
        is_active=bool(domain.isActive()),
        is_persistent=bool(domain.isPersistent()),
    )
