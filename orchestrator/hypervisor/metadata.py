# SPDX-License-Identifier: Apache-2.0
"""What a domain's metadata holds: its settings, and the policies of its guest.

Settings are in the running domain and in its definition, policies in the former only.

Source: virDomainSetMetadata of libvirt-domain.h.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from orchestrator.domain_xml.guest_policies import (
    GUEST_POLICIES_PREFIX,
    GUEST_POLICIES_URI,
    build_guest_policies,
)
from orchestrator.domain_xml.metadata import (
    POLICY_PREFIX,
    POLICY_URI,
    ReadSettings,
    build_settings,
    parse_settings,
)
from orchestrator.hypervisor.descriptions import Description, Scope, descriptions_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.values.domain import GuestPolicy
    from orchestrator.values.domain_settings import DomainSettings


def read_settings(domain: libvirt.virDomain, scope: Scope) -> dict[bool, ReadSettings]:
    """Read the settings; True: of the running domain, False: of its definition.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: the domain has no such description.
    """
    return {
        each.is_live: parse_settings(each.read_xml())
        for each in descriptions_of(domain, scope)
    }


def write_settings(
    domain: libvirt.virDomain, policies: Mapping[bool, DomainSettings]
) -> None:
    """Write the settings to both descriptions or none; empty settings are removed.

    Raises:
        libvirt.libvirtError: libvirt refused; what was written is undone.
        DomainXmlError: contradictory settings; nothing was written.
    """
    elements = {is_live: _render(policy) for is_live, policy in policies.items()}
    descriptions = [
        each for each in descriptions_of(domain) if each.is_live in elements
    ]
    before = {each: parse_settings(each.read_xml()).settings for each in descriptions}
    with ExitStack() as undo:
        for each in descriptions:
            _write(each, elements[each.is_live])
            undo.callback(partial(_restore, each, before[each]))
        undo.pop_all()


def write_guest_policies(
    domain: libvirt.virDomain, policies: Iterable[GuestPolicy]
) -> None:
    """Note the policies of a guest in the running domain, in place of earlier ones.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: the domain is not running.
    """
    (live,) = descriptions_of(domain, Scope.LIVE)
    element = build_guest_policies(policies)
    live.set_metadata(GUEST_POLICIES_PREFIX, GUEST_POLICIES_URI, element)


def _restore(description: Description, policy: DomainSettings | None) -> None:
    # A failed undo must not hide the error that caused it.
    with suppress(libvirt.libvirtError):
        _write(description, None if policy is None else _render(policy))


def _write(description: Description, element: str | None) -> None:
    description.set_metadata(POLICY_PREFIX, POLICY_URI, element)


def _render(policy: DomainSettings) -> str | None:
    return None if policy.is_empty else build_settings(policy)
