# SPDX-License-Identifier: Apache-2.0
"""The specification of a new domain, and parsing of its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.values.domain_settings import DomainSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.values.domain import PCpu

_PCI = re.compile(
    r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.IGNORECASE
)


class DomainKind(StrEnum):
    """What executes the guest's instructions."""

    KVM = "kvm"
    """The CPU; for production."""
    QEMU = "qemu"
    """QEMU's emulation, slow but without KVM; vCPUs are pinned in the same way."""


class Link(StrEnum):
    """What an interface is connected to."""

    NETWORK = "network"
    """A libvirt network."""
    BRIDGE = "bridge"
    """A bridge of the host."""
    VHOST_USER = "vhostuser"
    """A polling switch, over a socket on which QEMU listens."""
    HOSTDEV = "hostdev"
    """A PCI function of the host (SR-IOV)."""
    USER = "user"
    """QEMU's user-mode network: needs no privileges, slow."""


@dataclass(frozen=True, slots=True)
class Network:
    """One interface."""

    link: Link
    to: str = ""
    """Name of the network or bridge, path of the socket, or PCI address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSpec:
    """A new domain; None: as in the template."""

    vcpus: int | None = None
    """Each gets the channel of its number."""
    memory_mib: int | None = None
    kernel: Path | None = None
    """Kernel to boot directly."""
    initrd: Path | None = None
    cmdline: str = ""
    """Kernel command line; requires a kernel."""
    pins: tuple[PCpu, ...] = ()
    """Host CPU of each vCPU; empty: not pinned, so not controllable."""
    emulator_pins: frozenset[PCpu] = frozenset()
    """Host CPUs for QEMU's emulator threads; empty: any."""
    numa_node: int | None = None
    """NUMA node of the memory, if the template has a NUMA policy."""
    kind: DomainKind = DomainKind.KVM
    disk: Path | None = None
    """The first disk: a file or a block device."""
    disk_format: str = ""
    """QEMU's name of the format; empty: by the file name, raw by default. It is never
    probed: a guest can write another format's header to a raw disk."""
    cloud_init: Path | None = None
    """ISO image with cloud-init data."""
    networks: tuple[Network, ...] | None = None
    """All interfaces; empty: none."""
    channels: frozenset[int] | None = None
    """Numbers of the channels; None: one for each vCPU."""
    socket_dir: Path | None = None
    """Directory of channel sockets `<name>.<number>`, as DPDK's host expects; None:
    libvirt chooses the path, and sets owner and labels."""
    console: Path | None = None
    """Log file of the serial console; None: a pty."""
    settings: DomainSettings = field(default_factory=DomainSettings)
    """Its settings, stored in its metadata."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the template, by name."""


def parse_network(text: str) -> Network:
    """Parse an interface: `default`, `bridge:br0`, `hostdev:3b:02.1`.

    Raises:
        ConfigError: the text is invalid.
    """
    kind, colon, to = text.partition(":")
    if not colon:
        return Network(Link.USER) if text == "user" else _network(Link.NETWORK, text)
    try:
        link = Link(kind)
    except ValueError as error:
        raise ConfigError(
            f"invalid network '{text}': expected NAME, network:NAME, bridge:NAME,"
            " vhostuser:PATH, hostdev:PCI or user"
        ) from error
    return _network(link, to)


def parse_pci(text: str) -> tuple[int, int, int, int]:
    """Parse a PCI address, `0000:3b:02.1` or `3b:02.1`: domain, bus, slot, function.

    Raises:
        ConfigError: the text is not a PCI address.
    """
    match = _PCI.fullmatch(text)
    if match is None:
        raise ConfigError(f"invalid PCI address '{text}': expected 0000:3b:02.1")
    domain, bus, slot, function = (int(part or "0", 16) for part in match.groups())
    return domain, bus, slot, function


def _network(link: Link, to: str) -> Network:
    if link is Link.HOSTDEV:
        parse_pci(to)
    elif link is Link.VHOST_USER and not to.startswith("/"):
        raise ConfigError(
            f"invalid vhost-user socket '{to}': expected an absolute path"
        )
    elif link is not Link.USER and not (to and to.isprintable()):
        raise ConfigError(f"invalid network '{link}:{to}': the name is missing")
    return Network(link, to)
