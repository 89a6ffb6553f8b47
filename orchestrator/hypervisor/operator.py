# SPDX-License-Identifier: Apache-2.0
"""The command's libvirt calls, with the operator's rights: define, start, pin, onboard.

The daemon never makes them on a client's behalf: the right to define a domain amounts
to root.

Source: virsh's --live, --config and --current.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

import libvirt

from orchestrator.errors import HypervisorError
from orchestrator.hypervisor import lookup, metadata, p_states, pinning
from orchestrator.hypervisor import manual_onboarding as onboarding
from orchestrator.hypervisor.bounded_call import call_within
from orchestrator.hypervisor.bounded_open import Opener
from orchestrator.hypervisor.descriptions import Scope
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.events import DeviceEventCounter
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.hypervisor.manual_onboarding import Preview
from orchestrator.hypervisor.p_state_tables import write_table
from orchestrator.hypervisor.uri import check_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from orchestrator.config import Config
    from orchestrator.domain_xml.metadata import ReadSettings
    from orchestrator.hypervisor.lookup import FoundDomain
    from orchestrator.hypervisor.manual_onboarding import Change
    from orchestrator.hypervisor.p_states import PStateChange
    from orchestrator.hypervisor.pinning import PinnedDomain
    from orchestrator.values.domain import DomainId, VCpu
    from orchestrator.values.domain_settings import DomainSettings

CHANGE_TIMEOUT_S = 60.0
"""Time for onboarding or offboarding one domain. A channel takes some 10 ms; on a busy
host, those of a large domain may take tens of seconds."""
_Result = TypeVar("_Result")
_DEVICE_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
)


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
        """Find a domain by its ID, UUID or name; see `lookup.find`."""
        return lookup.find(self._connection, word)

    def find_all(self, words: Sequence[str]) -> tuple[FoundDomain, ...]:
        """Find domains, also by patterns of their names; see `lookup.find_all`."""
        return lookup.find_all(self._connection, words)

    def list_all(self) -> tuple[FoundDomain, ...]:
        """List all domains by name; see `lookup.list_all`."""
        return lookup.list_all(self._connection)

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
            return metadata.read_settings(domain, scope)

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
            metadata.write_settings(domain, wanted)

    def list_pinned(self) -> tuple[PinnedDomain, ...]:
        """List the domains that have pinned vCPUs; see `pinning.list_pinned`."""
        return pinning.list_pinned(self._connection)

    def list_vcpus_on(self, cpu: int, uuid: DomainId) -> tuple[tuple[str, VCpu], ...]:
        """List the vCPUs on one host CPU; see `pinning.list_vcpus_on`."""
        return pinning.list_vcpus_on(self._connection, cpu, uuid)

    def check_cpus(self, cpus: Collection[int]) -> None:
        """Check that host CPUs exist; see `pinning.check_cpus`."""
        pinning.check_cpus(self._connection, cpus)

    def pin(
        self,
        uuid: DomainId,
        vcpu: VCpu,
        cpus: Collection[int],
        *,
        live: bool = False,
        config: bool = False,
    ) -> None:
        """Pin a vCPU to host CPUs; see `pinning.pin`."""
        pinning.pin(self._connection, uuid, vcpu, cpus, live=live, config=config)

    @property
    def is_qemu(self) -> bool:
        """Whether the domains are QEMU's, and not those of libvirt's test driver."""
        return self.uri.startswith("qemu")

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
            return lookup.describe(self._connection.defineXML(xml))

    def start(self, uuid: DomainId) -> None:
        """Start a domain.

        Raises:
            HypervisorError: libvirt refused, it is running already, or undefined.
        """
        with translated():
            self._connection.lookupByUUIDString(uuid).create()

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
