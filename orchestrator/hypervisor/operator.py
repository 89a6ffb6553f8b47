# SPDX-License-Identifier: Apache-2.0
"""The command's libvirt calls, with the operator's rights: define, start, pin, onboard.

The daemon never makes them on a client's behalf: the right to define a domain amounts
to root.

Source: virsh's lookup of a domain (id, UUID, name) and its --live, --config and
--current.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Self, TypeVar

import libvirt

from orchestrator.errors import DomainGone, HypervisorError
from orchestrator.hypervisor import manual_onboarding as onboarding
from orchestrator.hypervisor import metadata as policies
from orchestrator.hypervisor import p_states
from orchestrator.hypervisor.bounded_call import call_within
from orchestrator.hypervisor.bounded_open import Opener
from orchestrator.hypervisor.descriptions import Scope
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.events import DeviceEventCounter
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.hypervisor.manual_onboarding import Preview
from orchestrator.hypervisor.p_state_tables import write_table
from orchestrator.hypervisor.uri import check_uri
from orchestrator.values.cpuset import format_cpulist, name_all, name_cpus
from orchestrator.values.domain import DomainId, PCpu, VCpu

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from orchestrator.config import Config
    from orchestrator.domain_xml.metadata import ReadSettings
    from orchestrator.hypervisor.manual_onboarding import Change
    from orchestrator.hypervisor.p_states import PStateChange
    from orchestrator.values.domain_settings import DomainSettings

CHANGE_TIMEOUT_S = 60.0
"""Time for onboarding or offboarding one domain. A channel takes some 10 ms; on a busy
host, those of a large domain may take tens of seconds."""
_Result = TypeVar("_Result")
_SEE_LIST = "see 'virsh list --all'"
_DEVICE_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDomain:
    """A domain that was found."""

    uuid: DomainId
    name: str
    is_active: bool
    is_persistent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedDomain:
    """A domain with pinned vCPUs, and the host CPUs that they are pinned to."""

    name: str
    is_active: bool
    pcpus: frozenset[PCpu]
    """CPUs of vCPUs that may run anywhere are not included."""


class OperatorConnection:
    """A read-write connection for one command.

    Synchronization: one thread. Every call but `onboard`, `offboard` and `preview` may
    block for as long as libvirt does.
    """

    def __init__(self, uri: str, *, change_timeout_s: float = CHANGE_TIMEOUT_S) -> None:
        """Connect.

        Args:
            uri: of libvirt.
            change_timeout_s: for onboarding or offboarding one domain.

        Raises:
            ConfigError: an invalid or a remote URI.
            HypervisorError: libvirt is not running, or refused.
        """
        self.uri = check_uri(uri)
        ensure_event_loop()
        self._device_events = DeviceEventCounter()
        self._callback_ids: list[int] = []
        self._change_timeout_s = change_timeout_s
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
        """Find a domain by its ID, UUID or name, tried in this order.

        Raises:
            DomainGone: no such domain.
            HypervisorError: libvirt refused.
        """
        with translated():
            return _found(self._look_up(word))

    def find_all(self, words: Sequence[str]) -> tuple[FoundDomain, ...]:
        """Find domains, each by `find` or by a shell pattern of its name: `dpdk-*`.

        Raises:
            DomainGone: no domain matches one of the words.
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
            with suppress(libvirt.libvirtError):  # undefined meanwhile
                found.append(_found(domain))
        return tuple(sorted(found, key=lambda item: item.name))

    def onboard(
        self,
        uuid: DomainId,
        numbers: frozenset[int] | None = None,
        scope: Scope = Scope.ALL,
    ) -> Change:
        """Attach the channels that a domain lacks; see `onboarding.onboard`.

        Raises:
            HypervisorError: libvirt refused, the domain has no such description, or
                not enough free ports: nothing has changed; or QEMU does not answer.
            DomainXmlError: invalid XML, or an invalid channel number.
        """
        self._watch_devices()
        return self._within_limit(
            uuid,
            lambda domain: onboarding.onboard(
                domain, numbers, scope, self._device_events
            ),
        )

    def offboard(
        self,
        uuid: DomainId,
        numbers: frozenset[int] | None = None,
        scope: Scope = Scope.ALL,
    ) -> Change:
        """Detach the channels that onboarding attached, by hand or by a rule.

        Raises:
            HypervisorError: libvirt refused, the domain has no such description, or
                did not release the channels in time; try again.
            DomainXmlError: invalid XML.
        """
        self._watch_devices()
        return self._within_limit(
            uuid,
            lambda domain: onboarding.offboard(
                domain, numbers, scope, self._device_events
            ),
        )

    def preview(
        self,
        uuid: DomainId,
        numbers: frozenset[int] | None = None,
        scope: Scope = Scope.ALL,
        *,
        is_leaving: bool = False,
    ) -> tuple[Preview, ...]:
        """Return what `onboard`, or `offboard` if `is_leaving`, would change.

        Raises:
            HypervisorError: as `onboard` and `offboard`.
            DomainXmlError: as `onboard` and `offboard`.
        """
        preview = onboarding.preview_onboard
        if is_leaving:
            preview = onboarding.preview_offboard
        return self._within_limit(uuid, lambda domain: preview(domain, numbers, scope))

    def onboard_p_states(self, uuid: DomainId, config: Config) -> PStateChange:
        """Give a domain P-states from its next start on; see `p_states`.

        Raises:
            HypervisorError: libvirt refused, the domain is transient, or the table
                cannot be written.
            DomainXmlError: the domain cannot have P-states.
            SysfsError: not a CPU tree.
        """
        return self._within_limit(
            uuid, lambda domain: p_states.onboard_p_states(domain, config)
        )

    def offboard_p_states(self, uuid: DomainId, directory: Path) -> PStateChange:
        """Remove what `onboard_p_states` added, from the next start on.

        Raises:
            HypervisorError: libvirt refused.
            DomainXmlError: invalid XML.
        """
        return self._within_limit(
            uuid, lambda domain: p_states.offboard_p_states(domain, directory)
        )

    def preview_p_states(self, uuid: DomainId, config: Config | None) -> Preview:
        """Return what `onboard_p_states` would change.

        Args:
            uuid: the domain.
            config: None: what `offboard_p_states` would change.

        Raises:
            HypervisorError: as `onboard_p_states`, but no table is written.
            DomainXmlError: as `onboard_p_states`.
            SysfsError: as `onboard_p_states`.
        """

        def preview(domain: libvirt.virDomain) -> Preview:
            before, after = (
                p_states.preview_offboard_p_states(domain)
                if config is None
                else p_states.preview_p_states(domain, config)
            )
            return Preview(is_live=False, before=before, after=after)

        return self._within_limit(uuid, preview)

    @property
    def has_table_element(self) -> bool:
        """Whether this libvirt has an element for ACPI tables.

        Raises:
            HypervisorError: libvirt refused.
        """
        with translated():
            return p_states.has_table_element(self._connection)

    def read_settings(
        self, uuid: DomainId, scope: Scope = Scope.ALL
    ) -> dict[bool, ReadSettings]:
        """Read the settings in its metadata; True: running domain, False: definition.

        Raises:
            HypervisorError: libvirt refused, or the domain has no such description.
        """
        with translated():
            domain = self._connection.lookupByUUIDString(uuid)
            return policies.read_settings(domain, scope)

    def write_settings(
        self, uuid: DomainId, wanted: Mapping[bool, DomainSettings]
    ) -> None:
        """Write what `read_settings` reads; empty settings are removed.

        Raises:
            HypervisorError: libvirt refused; everything is undone.
            DomainXmlError: contradictory settings; nothing was written.
        """
        with translated():
            domain = self._connection.lookupByUUIDString(uuid)
            policies.write_settings(domain, wanted)

    def list_pinned(self) -> tuple[PinnedDomain, ...]:
        """List the domains that have pinned vCPUs.

        Raises:
            HypervisorError: libvirt refused.
        """
        with translated():
            domains = self._connection.listAllDomains(0)
        return tuple(filter(None, map(_read_pinned, domains)))

    def list_vcpus_on(self, cpu: int, uuid: DomainId) -> tuple[tuple[str, VCpu], ...]:
        """List the vCPUs that are pinned to one host CPU and to no other, by domain.

        Args:
            cpu: the host CPU.
            uuid: a domain; of others, only those that are running count.

        Raises:
            HypervisorError: libvirt refused.
        """
        with translated():
            domains = self._connection.listAllDomains(0)
        return tuple(
            (domain.name(), VCpu(vcpu))
            for domain in domains
            for vcpu, mask in enumerate(_read_pinning(domain, uuid))
            if mask == (cpu,)
        )

    @property
    def is_qemu(self) -> bool:
        """Whether the domains are QEMU's, and not those of libvirt's test driver."""
        return self.uri.startswith("qemu")

    def check_cpus(self, cpus: Collection[int]) -> None:
        """Check that host CPUs exist; they may be offline.

        Raises:
            HypervisorError: one does not, or libvirt refused.
        """
        with translated():
            count = self._connection.getCPUMap(0)[0]
        _check_exist(cpus, count)

    def is_network_active(self, name: str) -> bool | None:
        """Return whether a libvirt network is active; None: no such network.

        Raises:
            HypervisorError: libvirt refused.
        """
        try:
            with translated():
                return bool(self._connection.networkLookupByName(name).isActive())
        except HypervisorError as error:
            if error.code == libvirt.VIR_ERR_NO_NETWORK:
                return None
            raise

    def define(
        self, xml: str, made: p_states.PStateDefinition | None = None
    ) -> FoundDomain:
        """Define a domain, or redefine it.

        Args:
            xml: of the domain.
            made: its P-states, whose table is written first; None: it has none.

        Raises:
            HypervisorError: libvirt refused the XML, or the table cannot be written.
        """
        if made is not None:
            write_table(made.path, made.table)
        with translated():
            return _found(self._connection.defineXML(xml))

    def start(self, uuid: DomainId) -> None:
        """Start a domain.

        Raises:
            HypervisorError: libvirt refused, it is running already, or undefined.
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
            mask = self._mask(cpus)
            domain = self._connection.lookupByUUIDString(uuid)
        try:
            with translated():
                domain.pinVcpuFlags(vcpu, mask, flags)
        except HypervisorError as error:
            off = _off(domain) if live else ""
            error.hint = error.hint or off or _missing_vcpu(domain, vcpu)
            raise

    def close(self) -> None:
        """Disconnect."""
        for number in self._callback_ids:
            with suppress(libvirt.libvirtError):
                self._connection.domainEventDeregisterAny(number)
        with suppress(libvirt.libvirtError):
            self._connection.close()

    def _within_limit(
        self, uuid: DomainId, change: Callable[[libvirt.virDomain], _Result]
    ) -> _Result:
        """Change or read a domain, unless its QEMU takes too long.

        Raises:
            HypervisorError: libvirt refused, or the time is over.
        """
        connection, limit_s = self._connection, self._change_timeout_s

        def work() -> _Result:
            with translated():
                return change(connection.lookupByUUIDString(uuid))

        try:
            return call_within(limit_s, work)
        except TimeoutError:
            # libvirt serves a few calls of a connection at once, and this one stays.
            with translated():
                self._connection = Opener(self.uri).open()
            self._callback_ids.clear()
            raise HypervisorError(
                f"its QEMU, or libvirt, does not answer: gave up after {limit_s:.0f} s",
                hint="check whether the QEMU process is stopped or blocked; libvirt may"
                " complete a part of the change when it continues: then run the command"
                " again",
            ) from None

    def _watch_devices(self) -> None:
        """Count device events; drivers without them are polled."""
        for event in () if self._callback_ids else _DEVICE_EVENTS:
            with suppress(libvirt.libvirtError):
                self._callback_ids.append(
                    self._connection.domainEventRegisterAny(
                        None, event, lambda *_: self._device_events.increment(), None
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
                hint=_SEE_LIST,
            )
        return matching

    def _mask(self, cpus: Collection[int]) -> tuple[bool, ...]:
        count = self._connection.getCPUMap(0)[0]
        if not cpus:
            raise HypervisorError(
                "a vCPU needs at least one CPU", hint="give a CPU list, as in 2-5,8"
            )
        _check_exist(cpus, count)
        return tuple(cpu in cpus for cpu in range(count))

    def _look_up(self, word: str) -> libvirt.virDomain:
        for look_up in self._lookups(word):
            try:
                return look_up()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        raise DomainGone(
            f"no such domain: '{word}'",
            code=libvirt.VIR_ERR_NO_DOMAIN,
            hint=_SEE_LIST,
        )

    def _lookups(self, word: str) -> Iterator[Callable[[], libvirt.virDomain]]:
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


def _check_exist(cpus: Collection[int], count: int) -> None:
    absent = [cpu for cpu in cpus if cpu >= count]
    if absent:
        # libvirt would ignore these, and pin to the others.
        raise HypervisorError(
            f"no such host CPU: {format_cpulist(absent)}",
            hint=f"the host has {name_cpus(range(count))}",
        )


def _found(domain: libvirt.virDomain) -> FoundDomain:
    return FoundDomain(
        uuid=DomainId(domain.UUIDString()),
        name=domain.name(),
        is_active=bool(domain.isActive()),
        is_persistent=bool(domain.isPersistent()),
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
