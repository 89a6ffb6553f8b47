# SPDX-License-Identifier: Apache-2.0
"""Finds domains by what an operator calls them: ID, UUID, name, or a pattern.

Source: virsh's lookup of a domain (id, UUID, name).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import libvirt

from orchestrator.errors import DomainGone
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SEE_LIST = "see 'virsh list --all'"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDomain:
    """A domain that was found."""

    uuid: DomainId
    name: str
    is_active: bool
    is_persistent: bool


def find(connection: libvirt.virConnect, word: str) -> FoundDomain:
    """Find a domain by its ID, UUID or name, tried in this order.

    Raises:
        DomainGone: no such domain.
        HypervisorError: libvirt refused.
    """
    with translated():
        return describe(_look_up(connection, word))


def find_all(
    connection: libvirt.virConnect, words: Sequence[str]
) -> tuple[FoundDomain, ...]:
    """Find domains, each by `find` or by a shell pattern of its name: `dpdk-*`.

    Raises:
        DomainGone: no domain matches one of the words.
        HypervisorError: libvirt refused.
    """
    found: dict[DomainId, FoundDomain] = {}
    for word in words:
        for domain in _match(connection, word):
            found[domain.uuid] = domain
    return tuple(found.values())


def list_all(connection: libvirt.virConnect) -> tuple[FoundDomain, ...]:
    """List all domains by name.

    Raises:
        HypervisorError: libvirt refused.
    """
    with translated():
        domains = connection.listAllDomains(0)
    found: list[FoundDomain] = []
    for domain in domains:
        with suppress(libvirt.libvirtError):  # undefined meanwhile
            found.append(describe(domain))
    return tuple(sorted(found, key=lambda item: item.name))


def _match(connection: libvirt.virConnect, word: str) -> list[FoundDomain]:
    try:
        return [find(connection, word)]
    except DomainGone:
        if not set(word) & set("*?["):
            raise
    matching = [item for item in list_all(connection) if fnmatchcase(item.name, word)]
    if not matching:
        raise DomainGone(
            f"no domain matches '{word}'",
            code=libvirt.VIR_ERR_NO_DOMAIN,
            hint=_SEE_LIST,
        )
    return matching


def _look_up(connection: libvirt.virConnect, word: str) -> libvirt.virDomain:
    for look_up in _lookups(connection, word):
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


def _lookups(
    connection: libvirt.virConnect, word: str
) -> Iterator[Callable[[], libvirt.virDomain]]:
    if word.isascii() and word.isdigit() and len(word) < 10:
        yield lambda: connection.lookupByID(int(word))
    if len(word) == 36:
        yield lambda: _look_up_uuid(connection, word)
    yield lambda: connection.lookupByName(word)


def _look_up_uuid(connection: libvirt.virConnect, word: str) -> libvirt.virDomain:
    try:
        return connection.lookupByUUIDString(word)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG:
            return connection.lookupByName(word)  # a name as long as a UUID
        raise


def describe(domain: libvirt.virDomain) -> FoundDomain:
    """Return a domain as the result of looking it up."""
    return FoundDomain(
        uuid=DomainId(domain.UUIDString()),
        name=domain.name(),
        is_active=bool(domain.isActive()),
        is_persistent=bool(domain.isPersistent()),
    )
