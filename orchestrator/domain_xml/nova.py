# SPDX-License-Identifier: Apache-2.0
"""What OpenStack's Nova notes about an instance in the metadata of its domain.

libvirt's name of such a domain is instance-0000001a, which no user knows.

Source: LibvirtConfigGuestMetaNovaInstance of nova/virt/libvirt/config.py; the namespace
ends in the version of the element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.values.domain import NovaInstance
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from lxml import etree

_NAMESPACES = tuple(
    f"http://openstack.org/xmlns/libvirt/nova/{version}" for version in ("1.1", "1.0")
)
_MAX_CHARS = 255
"""Nova's limit of names."""


def read_nova(root: etree._Element) -> NovaInstance | None:
    """Read the instance; None: the domain is not Nova's. Never fails."""
    for namespace in _NAMESPACES:
        element = root.find(f"metadata/{{{namespace}}}instance")
        if element is not None:
            return NovaInstance(
                name=_text(element, f"{{{namespace}}}name"),
                project=_text(element, f"{{{namespace}}}owner/{{{namespace}}}project"),
            )
    return None


def _text(element: etree._Element, path: str) -> str:
    return printable((element.findtext(path) or "").strip()[:_MAX_CHARS])
