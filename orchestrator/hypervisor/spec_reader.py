# SPDX-License-Identifier: Apache-2.0
"""Reads a domain from libvirt: XML, state and pinning, as a `DomainSpec`."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from orchestrator.domain_xml.parse import ParsedDomain, parse_domain
from orchestrator.values.domain import (
    ChannelSpec,
    DomainChannels,
    DomainId,
    DomainSpec,
    DomainState,
    PCpu,
    VCpuSpec,
)
from orchestrator.values.p_state_channels import build_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from orchestrator.values.p_states import PStates

_STATES: Mapping[int, DomainState] = {
    libvirt.VIR_DOMAIN_NOSTATE: DomainState.NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.BLOCKED,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainState.SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.PMSUSPENDED,
}
_ATTEMPTS = 3
"""Readings of a domain that starts or stops meanwhile; an event follows anyway."""


class ParsedXmlCache:
    """The latest parsed XML of each domain.

    Parsing is three quarters of the cost of a resync, which usually finds every domain
    unchanged.

    Synchronization: any thread, but one call per domain at a time.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[DomainId, bool], tuple[bytes, ParsedDomain]] = {}

    def parse(
        self, uuid: DomainId, xml: str, *, is_definition: bool = False
    ) -> ParsedDomain:
        """Parse a domain's XML, unless it is the same as last time.

        Args:
            uuid: the domain.
            xml: one of its descriptions.
            is_definition: whether it is the definition of a running domain.

        Raises:
            DomainXmlError: invalid XML.
        """
        digest = hashlib.blake2b(xml.encode(), digest_size=16).digest()
        key = (uuid, is_definition)
        entry = self._entries.get(key)
        if entry is None or entry[0] != digest:
            entry = self._entries[key] = (digest, parse_domain(xml))
        return entry[1]

    def keep(self, uuids: Collection[DomainId]) -> None:
        """Drop the entries of all other domains."""
        kept = set(uuids)
        for key in [key for key in self._entries.copy() if key[0] not in kept]:
            self._entries.pop(key, None)


def read_domain_spec(
    connection: libvirt.virConnect, uuid: DomainId, cache: ParsedXmlCache
) -> DomainSpec:
    """Read one domain: its XML, its state, its pinning.

    Raises:
        libvirt.libvirtError: libvirt refused.
        DomainXmlError: invalid XML from libvirt.
    """
    domain = connection.lookupByUUIDString(uuid)
    parsed, state = _read_consistently(domain, partial(cache.parse, uuid))
    is_running = parsed.run >= 0
    pinning = _read_pinning(domain, parsed.vcpus)
    channels, p_states = parsed.channels, parsed.p_states
    if is_running:
        channels = tuple(map(_identify_channel, channels))
        p_states = _identify_p_states(p_states)
    defined = _read_definition(domain, cache) if is_running else parsed
    return DomainSpec(
        uuid=parsed.uuid,
        name=parsed.name,
        state=state,
        run=parsed.run,
        vcpus=tuple(
            VCpuSpec(vcpu=vcpu, pinning=pinning.get(vcpu, frozenset()))
            for vcpu in parsed.vcpus
        ),
        channels=channels + build_channels(p_states),
        live=_channels_of(parsed) if is_running else None,
        definition=None if defined is None else _channels_of(defined),
        has_next_p_states=defined is not None and defined.p_states is not None,
        is_pinned=parsed.is_pinned,
        threads=parsed.threads,
        nova=parsed.nova,
        interfaces=parsed.interfaces,
        settings=parsed.settings,
        guest_policies=parsed.guest_policies if is_running else (),
        p_states=p_states,
        problems=parsed.problems,
    )


def _identify_channel(channel: ChannelSpec) -> ChannelSpec:
    return replace(channel, socket=_identify_socket(channel.path))


def _identify_p_states(p_states: PStates | None) -> PStates | None:
    if p_states is None:
        return None
    endpoints = (
        each._replace(socket=_identify_socket(each.path)) for each in p_states.endpoints
    )
    return p_states._replace(endpoints=tuple(endpoints))


def _identify_socket(path: str | None) -> str | None:
    """Return what distinguishes a socket from those of earlier runs; None: none yet.

    Nothing changes the modification time of a socket after bind(): not a connection,
    nor a change of its owner, mode or label.
    """
    if path is None:
        return None
    try:
        found = os.lstat(path)
    except (OSError, ValueError):  # not there yet, or not a path
        return None
    return f"{found.st_ino}:{found.st_mtime_ns}"


def _read_definition(
    domain: libvirt.virDomain, cache: ParsedXmlCache
) -> ParsedDomain | None:
    """Read the definition of a running domain, if it has one."""
    if not domain.isPersistent():
        return None
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    uuid = DomainId(domain.UUIDString())
    return cache.parse(uuid, xml, is_definition=True)


def _channels_of(parsed: ParsedDomain) -> DomainChannels:
    # A channel that another program made unusable is no longer the one we attached.
    return parsed.domain_channels(parsed.note.by_rule - parsed.unusable_channels)


def _read_consistently(
    domain: libvirt.virDomain, parse: Callable[[str], ParsedDomain]
) -> tuple[ParsedDomain, DomainState]:
    """Read XML and state, two calls between which the domain can start or stop."""
    attempts = _ATTEMPTS
    while True:
        parsed = parse(domain.XMLDesc(0))
        state = _STATES.get(domain.state()[0], DomainState.NOSTATE)
        attempts -= 1
        if (parsed.run >= 0) == state.is_active or not attempts:
            return parsed, state


def _read_pinning(
    domain: libvirt.virDomain, vcpus: Collection[int]
) -> dict[int, frozenset[PCpu]]:
    pinning = {vcpu: _cpus_of(mask) for vcpu, mask in enumerate(domain.vcpuPinInfo(0))}
    # libvirt-python requests as many masks as vCPUs are online. After the unplugging of
    # a low vCPU the highest ones are missing, and only domain.vcpus() numbers them.
    if any(vcpu not in pinning for vcpu in vcpus):
        with suppress(libvirt.libvirtError):  # stopped meanwhile: an event follows
            infos, masks = domain.vcpus()
            pinning |= {
                info[0]: _cpus_of(mask)
                for info, mask in zip(infos, masks, strict=True)
                if info[0] not in pinning
            }
    return pinning


def _cpus_of(mask: Iterable[bool]) -> frozenset[PCpu]:
    return frozenset(PCpu(cpu) for cpu, is_allowed in enumerate(mask) if is_allowed)
