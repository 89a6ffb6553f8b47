"""What a domain is to be like, as values; and the words that people say it with."""

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
    """Who runs the guest's instructions."""

    KVM = "kvm"
    """The processor: what production wants."""
    QEMU = "qemu"
    """QEMU itself, slowly and everywhere; its vCPUs are pinned like KVM's."""


class Link(StrEnum):
    """What an interface leads to."""

    NETWORK = "network"
    """A network of libvirt's."""
    BRIDGE = "bridge"
    """A bridge of the host's."""
    VHOST_USER = "vhostuser"
    """A switch that polls, over a socket where QEMU listens."""
    HOSTDEV = "hostdev"
    """A PCI function of the host's: SR-IOV."""
    USER = "user"
    """QEMU's own network stack: no rights needed, slow."""


@dataclass(frozen=True, slots=True)
class Network:
    """One interface."""

    link: Link
    to: str = ""
    """Name of the network or bridge, path of the socket, or PCI address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSpec:
    """What a domain is to be like; None leaves it as the template has it."""

    vcpus: int | None = None
    """Each gets the channel of its number."""
    memory_mib: int | None = None
    kernel: Path | None = None
    """Booted directly."""
    initrd: Path | None = None
    cmdline: str = ""
    """The kernel's command line; needs a kernel."""
    pins: tuple[PCpu, ...] = ()
    """The host CPU of each vCPU; empty: they float, and none can be controlled."""
    emulator_pins: frozenset[PCpu] = frozenset()
    """Host CPUs for all of QEMU that is no vCPU; empty: wherever Linux likes."""
    numa_node: int | None = None
    """Where the memory is, if the template says that it has a place."""
    kind: DomainKind = DomainKind.KVM
    disk: Path | None = None
    """The first disk: a file or a block device."""
    disk_format: str = ""
    """As QEMU calls it; empty: what the disk's name ends in, or else raw. Never what
    is in the file, because a guest can write there whatever it likes."""
    cloud_init: Path | None = None
    """ISO image with the guest's first settings."""
    networks: tuple[Network, ...] | None = None
    """All interfaces; empty: none."""
    channels: frozenset[int] | None = None
    """Numbers of the channels; None: one for each vCPU."""
    socket_dir: Path | None = None
    """Channels get `<socket_dir>/<name>.<number>`, as DPDK's own host wants it; None:
    libvirt chooses, and takes care of owner and labels."""
    console: Path | None = None
    """File that the serial console is written to; None: a pty."""
    policy: DomainSettings = field(default_factory=DomainSettings)
    """What it is allowed, for its metadata."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The template's own parameters, by name."""


def parse_network(text: str) -> Network:
    """Read what people say of an interface: `default`, `bridge:br0`, `hostdev:3b:02.1`.

    Raises:
        ConfigError: it cannot be meant.
    """
    kind, colon, to = text.partition(":")
    if not colon:
        return Network(Link.USER) if text == "user" else _network(Link.NETWORK, text)
    try:
        link = Link(kind)
    except ValueError as error:
        raise ConfigError(
            f"'{text}' is no network",
            hint="write NAME, network:NAME, bridge:NAME, vhostuser:PATH,"
            " hostdev:PCI or user",
        ) from error
    return _network(link, to)


def parse_pci(text: str) -> tuple[int, int, int, int]:
    """Read a PCI address: domain, bus, slot, function; `0000:3b:02.1` or `3b:02.1`.

    Raises:
        ConfigError: it is none.
    """
    match = _PCI.fullmatch(text)
    if match is None:
        raise ConfigError(f"'{text}' is no PCI address", hint="write 0000:3b:02.1")
    domain, bus, slot, function = (int(word or "0", 16) for word in match.groups())
    return domain, bus, slot, function


def _network(link: Link, to: str) -> Network:
    if link is Link.HOSTDEV:
        parse_pci(to)
    elif link is Link.VHOST_USER and not to.startswith("/"):
        raise ConfigError(f"'{to}' is no absolute path of a vhost-user socket")
    elif link is not Link.USER and not (to and to.isprintable()):
        raise ConfigError(f"a {link} needs a name")
    return Network(link, to)
