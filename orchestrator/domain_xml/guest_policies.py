# SPDX-License-Identifier: Apache-2.0
"""The policies of a domain's guest in the metadata of the running domain.

A guest sends a policy once and relies on it. Metadata of a running domain is part of a
saved state and of a live migration, and is gone at the next start: exactly as long as
the program in the guest that sent the policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from orchestrator.values.domain import MAX_CHANNEL_NUMBER, GuestPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GUEST_POLICIES_URI = "urn:vmpower:guest-policies:1"
"""A separate namespace, because libvirt keeps one element per namespace."""
GUEST_POLICIES_PREFIX = "vmpower-guest"
_TAG = "sent"


def read_guest_policies(root: etree._Element) -> tuple[GuestPolicy, ...]:
    """Read the policies from a domain's tree; invalid ones are left out."""
    element = root.find(f"metadata/{{{GUEST_POLICIES_URI}}}{_TAG}")
    return () if element is None else tuple(_read_all(element))


def _read_all(element: etree._Element) -> Iterator[GuestPolicy]:
    for child in element.iterchildren(etree.Element):
        channel, text = str(child.get("channel", "")), str(child.get("text", ""))
        is_number = channel.isascii() and channel.isdigit() and len(channel) <= 4
        if is_number and int(channel) <= MAX_CHANNEL_NUMBER and text:
            macs = child.get("macs")
            yield GuestPolicy(
                channel=int(channel),
                text=text,
                macs=None if macs is None else tuple(str(macs).split()),
            )


def build_guest_policies(policies: Iterable[GuestPolicy]) -> str | None:
    """Build the element as libvirt expects it; None: there are no policies."""
    element = etree.Element(_TAG)
    for policy in policies:
        child = etree.SubElement(element, "policy")
        child.set("channel", str(policy.channel))
        child.set("text", policy.text)
        if policy.macs is not None:
            child.set("macs", " ".join(policy.macs))
    return etree.tostring(element, encoding="unicode") if len(element) else None
