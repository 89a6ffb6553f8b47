# SPDX-License-Identifier: Apache-2.0
"""Parses the parts of a domain's XML that matter for power management.

Invalid parts are reported and ignored; the rest of the domain is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.domain_xml.channel import (
    check_socket_path,
    parse_channel_number,
)
from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.guest_policies import read_guest_policies
from orchestrator.domain_xml.interfaces import read_interfaces
from orchestrator.domain_xml.metadata import read_settings
from orchestrator.domain_xml.note import Note, read_note
from orchestrator.domain_xml.nova import read_nova
from orchestrator.domain_xml.p_states import read_p_states
from orchestrator.domain_xml.ports import count_free_ports
from orchestrator.domain_xml.threads import read_threads
from orchestrator.errors import DomainXmlError
from orchestrator.values.domain import (
    ChannelSpec,
    DomainChannels,
    DomainId,
    Target,
    VCpu,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml import etree

    from orchestrator.values.domain import (
        GuestPolicy,
        InterfaceSpec,
        NovaInstance,
        QemuThread,
    )
    from orchestrator.values.domain_settings import DomainSettings
    from orchestrator.values.p_states import PStates

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_DIGITS = 10
_SHOWN = 20
_MAX_VCPUS = 8192
"""More vCPUs than any hypervisor supports; a higher number is invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedDomain:
    """A domain, from one of its descriptions."""

    uuid: DomainId
    name: str
    run: int
    """libvirt's numeric ID; -1 in a definition."""
    vcpus: tuple[VCpu, ...]
    """vCPUs that are online, or in a definition, will be at the next start."""
    channels: tuple[ChannelSpec, ...]
    """By number, without duplicates. A path that is too long is kept, to be shown."""
    unusable_channels: frozenset[int]
    """Numbers of channels that cannot be connected, because of their type or mode."""
    free_ports: int
    """Channels that fit into the present virtio-serial controllers."""
    note: Note
    """What onboarding attached."""
    is_pinned: bool
    """Whether any vCPU is pinned."""
    threads: tuple[QemuThread, ...]
    """Its emulator and I/O threads, as far as they are pinned."""
    nova: NovaInstance | None
    """The OpenStack instance that it is; None: it is none."""
    interfaces: tuple[InterfaceSpec, ...]
    settings: DomainSettings | None
    """The settings in its metadata; None: there are none."""
    guest_policies: tuple[GuestPolicy, ...]
    """Those noted in its metadata."""
    p_states: PStates | None
    """Those noted in its metadata, with their devices; None: there are none."""
    problems: tuple[str, ...]
    """What was ignored and why, one sentence each."""

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of all channels, usable or not."""
        return self.unusable_channels.union(item.number for item in self.channels)

    def domain_channels(self, removable: frozenset[int]) -> DomainChannels:
        """Return what a plan for its channels needs.

        Args:
            removable: channels that may be detached, if they are still there: a note
                can be older than the removal of a channel by another program.
        """
        return DomainChannels(
            vcpus=frozenset(self.vcpus),
            present=self.numbers,
            removable=removable & self.numbers,
            free_ports=self.free_ports,
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """A poweragent channel element."""

    spec: ChannelSpec
    problem: str
    """Why it cannot be connected; empty if it can be."""


def parse_domain(xml: str) -> ParsedDomain:
    """Parse a domain's XML, live or inactive.

    Raises:
        DomainXmlError: invalid domain XML, or no UUID or name.
    """
    root = parse_document(xml)
    channels, unusable, problems = _read_channels(root)
    vcpus, vcpu_problems = _read_vcpus(root)
    found = read_settings(root)
    p_states, p_state_problems = read_p_states(root)
    return ParsedDomain(
        uuid=_read_uuid(root),
        name=_read_text(root, "name"),
        run=_small(root.get("id"), -1),
        vcpus=vcpus,
        channels=channels,
        unusable_channels=unusable,
        free_ports=count_free_ports(root),
        note=read_note(root),
        is_pinned=_is_pinned(root),
        threads=read_threads(root),
        nova=read_nova(root),
        interfaces=read_interfaces(root),
        settings=found.settings,
        guest_policies=read_guest_policies(root),
        p_states=p_states,
        problems=(*problems, *vcpu_problems, *found.problems, *p_state_problems),
    )


def _read_channels(
    root: etree._Element,
) -> tuple[tuple[ChannelSpec, ...], frozenset[int], tuple[str, ...]]:
    usable: dict[int, ChannelSpec] = {}
    unusable: set[int] = set()
    problems: list[str] = []
    for element in root.iterfind("devices/channel"):
        try:
            found = _read_channel(element)
        except DomainXmlError as error:
            problems.append(f"{_describe(element)}: {error}; ignored")
            continue
        if found is None:
            continue
        number = found.spec.number
        if number in usable or number in unusable:
            problems.append(
                f"{_describe(element)}: defined twice; only the first is used"
            )
        elif found.problem:
            unusable.add(number)
            problems.append(f"{_describe(element)}: {found.problem}; ignored")
        else:
            usable[number] = found.spec
            problems.extend(_path_problems(element, found.spec.path))
    ordered = tuple(usable[number] for number in sorted(usable))
    return ordered, frozenset(unusable), tuple(problems)


def _read_channel(element: etree._Element) -> _Found | None:
    target = element.find("target[@type='virtio']")
    name = None if target is None else target.get("name")
    number = None if name is None else parse_channel_number(str(name))
    if target is None or number is None:
        return None
    source = element.find("source")
    alias = element.find("alias")
    path = None if source is None else source.get("path")
    spec = ChannelSpec(
        number=number,
        target=Target(str(name)),
        path=path or None,
        alias=None if alias is None else alias.get("name"),
        is_guest_connected=_read_guest_state(target),
    )
    return _Found(spec, _why_unusable(element, source))


def _why_unusable(element: etree._Element, source: etree._Element | None) -> str:
    kind = element.get("type")
    if kind != "unix":
        return f"unsupported type '{kind}': only 'unix' can be connected"
    if source is not None and source.get("mode") == "connect":
        return "QEMU connects (mode='connect') instead of listening"
    return ""


def _read_guest_state(target: etree._Element) -> bool | None:
    return {"connected": True, "disconnected": False}.get(str(target.get("state")))


def _path_problems(element: etree._Element, path: str | None) -> Iterator[str]:
    if path is None:
        return
    try:
        check_socket_path(path)
    except DomainXmlError as error:
        yield f"{_describe(element)}: {error}"


def _describe(element: etree._Element) -> str:
    target = element.find("target")
    name = "" if target is None else str(target.get("name"))
    # A name can have any length and any characters.
    return f"channel {name[:80]!r}"


def _read_vcpus(root: etree._Element) -> tuple[tuple[VCpu, ...], tuple[str, ...]]:
    named = [
        _small(item.get("id"), -1)
        for item in root.iterfind("vcpus/vcpu")
        if item.get("enabled") == "yes"
    ]
    if named:
        return tuple(VCpu(number) for number in sorted(named) if number >= 0), ()
    element = root.find("vcpu")
    if element is None:
        return (VCpu(0),), ()  # libvirt's default is one
    text = str(element.get("current", (element.text or "").strip()))
    count = _small(text, -1)
    if not 1 <= count <= _MAX_VCPUS:
        return (), (f"invalid number of vCPUs {text[:_SHOWN]!r}",)
    return tuple(VCpu(number) for number in range(count)), ()


def _is_pinned(root: etree._Element) -> bool:
    # What is configured, not what is in effect: that changes with each offline CPU.
    return (
        root.find("cputune/vcpupin") is not None
        or root.find("vcpu[@cpuset]") is not None
    )


def _read_uuid(root: etree._Element) -> DomainId:
    text = _read_text(root, "uuid").lower()
    if not _UUID.fullmatch(text):
        raise DomainXmlError(f"invalid UUID '{text[:80]}'")
    return DomainId(text)


def _read_text(root: etree._Element, name: str) -> str:
    text = (root.findtext(name) or "").strip()
    if not text:
        raise DomainXmlError(f"the domain has no {name}")
    return text


def _small(text: str | None, otherwise: int) -> int:
    word = text or ""
    # The length first: int() raises another error for thousands of digits.
    is_number = word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS
    return int(word) if is_number else otherwise
