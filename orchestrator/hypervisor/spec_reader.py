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

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

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
    return DomainSpec(
        uuid=parsed.uuid,
        name=parsed.name,
        state=state,
        run=parsed.run,
        vcpus=tuple(
            VCpuSpec(vcpu=vcpu, pinning=pinning.get(vcpu, frozenset()))
            for vcpu in parsed.vcpus
        ),
        channels=tuple(map(_identify_socket, parsed.channels))
        if is_running
        else parsed.channels,
        live=_channels_of(parsed) if is_running else None,
        definition=_read_definition(domain, cache)
        if is_running
        else _channels_of(parsed),
        is_pinned=parsed.is_pinned,
        threads=parsed.threads,
        nova=parsed.nova,
        interfaces=parsed.interfaces,
        settings=parsed.settings,
        guest_policies=parsed.guest_policies if is_running else (),
        problems=parsed.problems,
    )


def _identify_socket(channel: ChannelSpec) -> ChannelSpec:
    """Add what distinguishes a channel's socket from those of earlier runs.

    Nothing changes the modification time of a socket after bind(): not a connection,
    nor a change of its owner, mode or label.
    """
    if channel.path is None:
        return channel
    try:
        found = os.lstat(channel.path)
    except (OSError, ValueError):  # not there yet, or not a path
        return channel
    return replace(channel, socket=f"{found.st_ino}:{found.st_mtime_ns}")


def _read_definition(
    domain: libvirt.virDomain, cache: ParsedXmlCache
) -> DomainChannels | None:
    """Read the definition of a running domain, if it has one."""
    if not domain.isPersistent():
        return None
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    uuid = DomainId(domain.UUIDString())
    return _channels_of(cache.parse(uuid, xml, is_definition=True))


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
