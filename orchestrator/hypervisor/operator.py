"""What the command does with the operator's own rights: define, start, pin, onboard.

The daemon never does these for anybody: who may define a domain is root, in effect.

Source: virsh's way to find a domain (id, UUID, name) and its --live, --config and
--current.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Self

import libvirt

from orchestrator.errors import DomainGone, HypervisorError
from orchestrator.hypervisor import manual_onboarding as onboarding
from orchestrator.hypervisor import metadata as policies
from orchestrator.hypervisor.descriptions import Scope
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.events import Bell
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.hypervisor.uri import check_uri
from orchestrator.values.cpuset import format_cpulist, name_all
from orchestrator.values.domain import DomainId, PCpu

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from types import TracebackType

    from orchestrator.domain_xml.metadata import ReadPolicy
    from orchestrator.hypervisor.manual_onboarding import Change, Preview
    from orchestrator.values.domain import VCpu
    from orchestrator.values.domain_settings import DomainPolicy

_WHICH = "'virsh list --all' shows those that there are"
_DEVICE_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDomain:
    """A domain that was looked up."""

    uuid: DomainId
    name: str
    is_active: bool
    is_persistent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A domain, and the host CPUs that its vCPUs are pinned to."""

    name: str
    is_active: bool
    pcpus: frozenset[PCpu]
    """Without those of vCPUs that may run anywhere."""


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
        self._bell = Bell()
        self._listening: list[int] = []
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

    def find_all(self, words: Sequence[str]) -> tuple[FoundDomain, ...]:
        """Find domains, each word as `find` does, or as a pattern of names: `dpdk-*`.

        Raises:
            DomainGone: nothing is found by one of the words.
            HypervisorError: libvirt refused.
        """
        found: dict[DomainId, FoundDomain] = {}
        for word in words:
            for domain in self._match(word):
                found[domain.uuid] = domain
        return tuple(found.values())

    def list_all(self) -> tuple[FoundDomain, ...]:
        """List all domains by name.

        Raises:
            HypervisorError: libvirt refused.
        """
        with translated():
            domains = self._connection.listAllDomains(0)
        found: list[FoundDomain] = []
        for domain in domains:
            with suppress(libvirt.libvirtError):  # gone meanwhile
                found.append(_facts(domain))
        return tuple(sorted(found, key=lambda item: item.name))

    def onboard(
        self,
        uuid: DomainId,
        numbers: frozenset[int] | None = None,
        scope: Scope = Scope.ALL,
    ) -> Change:
        """Give a domain the channels that it lacks; see `onboarding.onboard`.

        Raises:
            HypervisorError: libvirt refused, the scope does not fit the domain, or it
                has no free ports; nothing has changed.
            DomainXmlError: its XML cannot be understood, or a number is absurd.
        """
        with translated():
            self._listen()
            domain = self._connection.lookupByUUIDString(uuid)
            return onboarding.onboard(domain, numbers, scope, self._bell)

    def offboard(
        self,
        uuid: DomainId,
        numbers: frozenset[int] | None = None,
        scope: Scope = Scope.ALL,
    ) -> Change:
        """Take away what was given by onboarding, by whomever.

        Raises:
            HypervisorError: libvirt refused, the scope does not fit the domain, or it
                did not let go in time; ask again.
            DomainXmlError: its XML cannot be understood.
        """
        with translated():
            self._listen()
            domain = self._connection.lookupByUUIDString(uuid)
            return onboarding.offboard(domain, numbers, scope, self._bell)

    def preview(
        self,
        uuid: DomainId,
        numbers: frozenset[int] | None = None,
        scope: Scope = Scope.ALL,
        *,
        is_leaving: bool = False,
    ) -> tuple[Preview, ...]:
        """Show what `onboard` or, when leaving, `offboard` would do.

        Raises:
            HypervisorError: as they.
            DomainXmlError: as they.
        """
        show = onboarding.preview_onboard
        if is_leaving:
            show = onboarding.preview_offboard
        with translated():
            domain = self._connection.lookupByUUIDString(uuid)
            return show(domain, numbers, scope)

    def read_policies(
        self, uuid: DomainId, scope: Scope = Scope.ALL
    ) -> dict[bool, ReadPolicy]:
        """Read what its metadata allows it; True: the running domain, False: defined.

        Raises:
            HypervisorError: libvirt refused, or the scope does not fit the domain.
        """
        with translated():
            domain = self._connection.lookupByUUIDString(uuid)
            return policies.read_policies(domain, scope)

    def write_policies(
        self, uuid: DomainId, wanted: Mapping[bool, DomainPolicy]
    ) -> None:
        """Write what `read_policies` reads; an empty one takes the element away.

        Raises:
            HypervisorError: libvirt refused; all is undone.
            DomainXmlError: a policy contradicts itself; nothing was written.
        """
        with translated():
            domain = self._connection.lookupByUUIDString(uuid)
            policies.write_policies(domain, wanted)

    def tenants(self) -> tuple[Tenant, ...]:
        """List the domains whose vCPUs are pinned.

        Raises:
            HypervisorError: libvirt refused.
        """
        with translated():
            domains = self._connection.listAllDomains(0)
        return tuple(filter(None, map(_tenant, domains)))

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
            HypervisorError: libvirt refused, or there is no such vCPU or host CPU.
        """
        flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if live else 0
        flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG if config else 0
        with translated():
            mask = self._mask(cpus)
            domain = self._connection.lookupByUUIDString(uuid)
        try:
            with translated():
                domain.pinVcpuFlags(vcpu, mask, flags)
        except HypervisorError as error:
            error.hint = error.hint or _missing_vcpu(domain, vcpu)
            raise

    def close(self) -> None:
        """Disconnect."""
        for number in self._listening:
            with suppress(libvirt.libvirtError):
                self._connection.domainEventDeregisterAny(number)
        with suppress(libvirt.libvirtError):
            self._connection.close()

    def _listen(self) -> None:
        """Be woken by devices that come and go; drivers without events are asked."""
        for event in () if self._listening else _DEVICE_EVENTS:
            with suppress(libvirt.libvirtError):
                self._listening.append(
                    self._connection.domainEventRegisterAny(
                        None, event, lambda *_: self._bell.ring(), None
                    )
                )

    def _match(self, word: str) -> list[FoundDomain]:
        try:
            return [self.find(word)]
        except DomainGone:
            if not set(word) & set("*?["):
                raise
        matching = [item for item in self.list_all() if fnmatchcase(item.name, word)]
        if not matching:
            raise DomainGone(
                f"no domain matches '{word}'",
                code=libvirt.VIR_ERR_NO_DOMAIN,
                hint=_WHICH,
            )
        return matching

    def _mask(self, cpus: Collection[int]) -> tuple[bool, ...]:
        count = self._connection.getCPUMap(0)[0]
        if not cpus:
            raise HypervisorError(
                "a vCPU needs at least one CPU to run on", hint="write 2-5,8"
            )
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
        raise DomainGone(
            f"no domain '{word}'", code=libvirt.VIR_ERR_NO_DOMAIN, hint=_WHICH
        )

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


def _tenant(domain: libvirt.virDomain) -> Tenant | None:
    try:
        is_active = bool(domain.isActive())
        masks = domain.vcpuPinInfo(0 if is_active else libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    except libvirt.libvirtError:
        return None  # gone, or started or stopped meanwhile
    pinned = (
        {PCpu(cpu) for cpu, is_allowed in enumerate(mask) if is_allowed}
        for mask in masks
        if not all(mask)
    )
    pcpus = frozenset[PCpu]().union(*pinned)
    return (
        Tenant(name=domain.name(), is_active=is_active, pcpus=pcpus) if pcpus else None
    )


def _missing_vcpu(domain: libvirt.virDomain, vcpu: int) -> str:
    """Say which vCPUs a domain has, if it lacks this one."""
    try:
        present = range(domain.vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_CURRENT))
    except libvirt.libvirtError:
        return ""
    return "" if vcpu in present else f"it has {name_all('vCPU', present)}"
