"""What a domain is allowed, in its metadata: in the running domain, in its definition.

Source: virDomainSetMetadata of libvirt-domain.h.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from orchestrator.domain_xml.metadata import (
    POLICY_PREFIX,
    POLICY_URI,
    ReadPolicy,
    build_policy,
    parse_policy,
)
from orchestrator.hypervisor.descriptions import Scope, Side, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.values.domain_settings import DomainPolicy


def read_policies(domain: libvirt.virDomain, scope: Scope) -> dict[bool, ReadPolicy]:
    """Read it; True: of the running domain, False: of its definition.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: the scope does not fit the domain.
    """
    sides = sides_of(domain, scope)
    return {side.is_live: parse_policy(side.read_xml()) for side in sides}


def write_policies(
    domain: libvirt.virDomain, policies: Mapping[bool, DomainPolicy]
) -> None:
    """Write it; an empty one takes the element away. Both halves or none.

    Raises:
        libvirt.libvirtError: libvirt refused; what was begun is undone.
        DomainXmlError: a policy contradicts itself; nothing was begun.
    """
    texts = {is_live: _render(policy) for is_live, policy in policies.items()}
    sides = [side for side in sides_of(domain) if side.is_live in texts]
    before = {side: parse_policy(side.read_xml()).policy for side in sides}
    with ExitStack() as undo:
        for side in sides:
            _write(side, texts[side.is_live])
            undo.callback(partial(_restore, side, before[side]))
        undo.pop_all()


def _restore(side: Side, policy: DomainPolicy | None) -> None:
    # An undo that is refused must not hide why we undo.
    with suppress(libvirt.libvirtError):
        _write(side, None if policy is None else _render(policy))


def _write(side: Side, element: str | None) -> None:
    side.set_metadata(POLICY_PREFIX, POLICY_URI, element)


def _render(policy: DomainPolicy) -> str | None:
    return None if policy.is_empty else build_policy(policy)
