# SPDX-License-Identifier: Apache-2.0
"""Gives a domain's guest P-states, and takes them away: the definition and its table.

Only a start of QEMU loads a table, so nothing changes for a running domain.

The table is made of the frequencies of the clock groups that the vCPUs are pinned to by
the definition, cut to the limits of the host and the domain. Once it is there, making
it again changes nothing, until a pinning, a limit or the host's frequencies have
changed.

Source: virDomainDefineXML of libvirt-domain.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt

from orchestrator.acpi.p_state_table import build_p_state_table
from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.p_state_devices import (
    add_p_states,
    find_free_places,
    has_table,
    remove_p_states,
)
from orchestrator.domain_xml.p_state_guests import (
    check_machine,
    find_refused_model,
    read_vcpu_pinning,
)
from orchestrator.domain_xml.p_states import find_note
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import HypervisorError
from orchestrator.hypervisor.p_state_tables import (
    path_of_table,
    remove_unused_tables,
    write_table,
)
from orchestrator.limits import Limits, turbo_limit
from orchestrator.onboarding.p_states import cut_table, plan_p_states
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_topology
from orchestrator.rights import resolve_rights
from orchestrator.values.domain import DomainSpec, DomainState, PCpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.config import Config
    from orchestrator.power.topology import Topology
    from orchestrator.values.frequencies import FrequencyTable
    from orchestrator.values.p_states import PStates

_FIRST_WITH_TABLE_ELEMENT = 11_003_000
"""libvirt 11.3.0 starts QEMU with tables of type `raw`."""
_REFUSED_MODEL = (
    "Linux's cpufreq driver refuses the CPU model '{model}': set another one, as in"
    " <cpu mode='host-passthrough'/>"
)
_SAME = "it has one frequency only"


@dataclass(frozen=True, slots=True, kw_only=True)
class PStateDefinition:
    """A definition with P-states, and what it is made of."""

    xml: str
    p_states: PStates
    table: bytes
    path: Path
    """Where the table must be when the domain starts."""
    lacking: Mapping[str, tuple[int, ...]]
    """vCPUs that get none, by reason."""
    warnings: tuple[str, ...]
    """What may keep the guest from using them, for people."""
    is_changed: bool = True
    """Whether it differs from the definition that it was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PStateChange:
    """What was changed in the definition of a domain."""

    is_changed: bool
    vcpus: tuple[int, ...] = ()
    """vCPUs that have P-states with the next start."""
    lacking: Mapping[str, tuple[int, ...]]
    """vCPUs that get none, by reason."""
    warnings: tuple[str, ...] = ()
    is_running: bool = False
    """Whether the domain runs, as before until it is powered off and started."""
    has_saved_state: bool = False
    """Whether libvirt starts it from a saved state, in which nothing has changed."""


def make_definition(
    xml: str, config: Config, *, has_table_element: bool
) -> PStateDefinition:
    """Add P-states to a definition, or replace those that it has.

    Args:
        xml: the definition; it has a UUID.
        config: of the host.
        has_table_element: see `has_table_element`.

    Raises:
        DomainXmlError: the domain cannot have P-states, or the XML is invalid.
        SysfsError: not a CPU tree.
    """
    root = parse_document(remove_p_states(xml))
    check_machine(root)
    parsed = parse_domain(xml)
    topology = read_topology(CpuTree(config.sysfs_root))
    tables, lacking = _choose_tables(xml, config, topology)
    if not any(tables):
        _refuse(lacking)
    plan = plan_p_states(tables, find_free_places(root))
    table = build_p_state_table(plan.p_states, plan.serials, config.p_states.latency_us)
    directory = config.p_states.directory
    path = path_of_table(directory, parsed.uuid, table)
    p_states = plan.p_states._replace(file=str(path))
    model = find_refused_model(root)
    before = parsed.p_states
    return PStateDefinition(
        xml=add_p_states(
            remove_p_states(xml),
            plan._replace(p_states=p_states),
            str(directory / parsed.uuid),
            has_table_element=has_table_element,
        ),
        p_states=p_states,
        table=table,
        path=path,
        lacking=lacking,
        warnings=(_REFUSED_MODEL.format(model=model),) if model else (),
        is_changed=before is None
        or before._replace(endpoints=()) != p_states
        or len(before.endpoints) < len(p_states.ports)
        or not has_table(xml, str(path)),
    )


def has_table_element(connection: libvirt.virConnect) -> bool:
    """Whether this libvirt has an element for ACPI tables."""
    return bool(connection.getLibVersion() >= _FIRST_WITH_TABLE_ELEMENT)


def onboard_p_states(domain: libvirt.virDomain, config: Config) -> PStateChange:
    """Give a domain P-states from its next start on.

    Raises:
        libvirt.libvirtError: libvirt refused; nothing has changed.
        HypervisorError: the domain is transient, or the table cannot be written.
        DomainXmlError: the domain cannot have P-states.
        SysfsError: not a CPU tree.
    """
    made = _make(domain, config)
    is_written = write_table(made.path, made.table)
    try:
        if made.is_changed:
            domain.connect().defineXML(made.xml)
    finally:
        remove_unused_tables(config.p_states.directory, domain)
    return PStateChange(
        is_changed=made.is_changed or is_written,
        vcpus=tuple(
            vcpu for vcpu, it in enumerate(made.p_states.tables) if it is not None
        ),
        lacking=made.lacking,
        warnings=made.warnings,
        is_running=bool(domain.isActive()),
        has_saved_state=_has_saved_state(domain),
    )


def offboard_p_states(domain: libvirt.virDomain, directory: Path) -> PStateChange:
    """Remove all of it from the definition, and tables that none needs any more.

    Args:
        domain: running or not.
        directory: where tables are kept; those that the domain names are elsewhere if
            the configuration has changed.

    Raises:
        libvirt.libvirtError: libvirt refused; nothing has changed.
        DomainXmlError: invalid XML from libvirt.
    """
    is_changed = False
    directories = {directory}
    if domain.isPersistent():
        before, after = preview_offboard_p_states(domain)
        is_changed = before != after
        if is_changed:
            directories |= _directories_of(before)
            domain.connect().defineXML(after)
    for each in directories:
        remove_unused_tables(each, domain)
    return PStateChange(
        is_changed=is_changed,
        lacking={},
        is_running=bool(domain.isActive()),
        has_saved_state=_has_saved_state(domain),
    )


def preview_p_states(domain: libvirt.virDomain, config: Config) -> tuple[str, str]:
    """Return the definition before and after `onboard_p_states`.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: the domain is transient.
        DomainXmlError: the domain cannot have P-states.
        SysfsError: not a CPU tree.
    """
    before = _read_definition(domain)
    made = _make(domain, config)
    return before, made.xml if made.is_changed else before


def preview_offboard_p_states(domain: libvirt.virDomain) -> tuple[str, str]:
    """Return the definition before and after `offboard_p_states`.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: the domain is transient.
        DomainXmlError: invalid XML from libvirt.
    """
    before = _read_definition(domain)
    has_note = find_note(parse_document(before)) is not None
    return before, remove_p_states(before) if has_note else before


def _make(domain: libvirt.virDomain, config: Config) -> PStateDefinition:
    return make_definition(
        _read_definition(domain),
        config,
        has_table_element=has_table_element(domain.connect()),
    )


def _read_definition(domain: libvirt.virDomain) -> str:
    """Read a definition as it may be defined again.

    Raises:
        HypervisorError: the domain has none.
    """
    if not domain.isPersistent():
        raise HypervisorError(
            "the domain is transient: it has no definition to which P-states could be"
            " added",
            hint="add them to its XML with 'vmpower domain add --p-states', or define"
            " the domain",
        )
    # Without SECURE, defining it would remove the passwords of its displays.
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
    return str(domain.XMLDesc(flags))


def _choose_tables(
    xml: str, config: Config, topology: Topology
) -> tuple[tuple[FrequencyTable | None, ...], dict[str, tuple[int, ...]]]:
    """Return a table for each vCPU, and those that get none by reason."""
    parsed = parse_domain(xml)
    spec = DomainSpec(
        uuid=parsed.uuid,
        name=parsed.name,
        state=DomainState.SHUTOFF,
        settings=parsed.settings,
    )
    rights = resolve_rights(config, spec)
    host = Limits.of(config.bounds.min_khz, config.bounds.max_khz)
    tables: list[FrequencyTable | None] = []
    lacking: dict[str, tuple[int, ...]] = {}
    for vcpu, pinning in enumerate(read_vcpu_pinning(xml)):
        cpus = topology.online if pinning is None else frozenset(map(PCpu, pinning))
        found = topology.assign(cpus)
        table, reason = None, found.reason
        if found.group is not None:
            steps = found.group.steps
            turbo = turbo_limit(steps, is_allowed=rights.turbo.value)
            table, reason = cut_table(steps, host, rights.limits, turbo), _SAME
        tables.append(table)
        if table is None:
            lacking[reason] = (*lacking.get(reason, ()), vcpu)
    return tuple(tables), lacking


def _refuse(lacking: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a domain of which no vCPU can have P-states.

    Raises:
        HypervisorError: always.
    """
    raise HypervisorError(
        f"no vCPU can have P-states: {'; '.join(lacking)}",
        hint="pin its vCPUs with 'vmpower domain pin DOMAIN VCPU CPU --config'",
    )


def _directories_of(xml: str) -> set[Path]:
    p_states = parse_domain(xml).p_states
    return {Path(p_states.file).parent} if p_states and p_states.file else set()


def _has_saved_state(domain: libvirt.virDomain) -> bool:
    try:
        return bool(domain.hasManagedSaveImage(0))
    except libvirt.libvirtError:
        return False  # a driver that saves none
