"""What we know of a domain, as values: no libvirt, no XML, no I/O.

Identity is the UUID; names can change and are for people.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from orchestrator.values.domain_settings import DomainPolicy

DomainId = NewType("DomainId", str)
"""A libvirt UUID in its canonical text form."""
VCpu = NewType("VCpu", int)
"""A virtual CPU, numbered inside its domain."""
PCpu = NewType("PCpu", int)
"""A host logical CPU, N of /sys/devices/system/cpu/cpuN."""
Target = NewType("Target", str)
"""A channel's name in the guest: virtio.serial.port.poweragent.N."""

TARGET_PREFIX = "virtio.serial.port.poweragent."
MAX_CHANNEL_NUMBER = 1279
"""Highest channel number taken for real: the largest RTE_MAX_LCORE that DPDK builds
anywhere (1280, on ARM SoCs). Absurd numbers are reported and left alone."""


class DomainState(StrEnum):
    """A domain's state, in virsh's words.

    Source: virDomainState of libvirt-domain.h; texts as `virsh list` prints them.
    """

    NOSTATE = "no state"
    RUNNING = "running"
    BLOCKED = "idle"
    PAUSED = "paused"
    SHUTDOWN = "in shutdown"
    SHUTOFF = "shut off"
    CRASHED = "crashed"
    PMSUSPENDED = "pmsuspended"

    @property
    def is_active(self) -> bool:
        """Whether QEMU runs, so that channels can be connected."""
        return self not in (DomainState.SHUTOFF, DomainState.CRASHED)

    @property
    def is_executing(self) -> bool:
        """Whether vCPUs run now, so that their votes count."""
        return self in (DomainState.RUNNING, DomainState.BLOCKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """One poweragent channel as the domain's XML describes it."""

    number: int
    """N of the target name; by DPDK's habit the lcore that uses it."""
    target: Target
    path: str | None
    """Host side socket; None while the domain is off and libvirt has not chosen one."""
    alias: str | None = None
    """libvirt's name of the device in a running domain (``channel0``)."""
    is_guest_connected: bool | None = None
    """Whether the guest holds its port open; None: libvirt has not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VCpuSpec:
    """One vCPU that is online in its domain."""

    vcpu: VCpu
    pinning: frozenset[PCpu]
    """Host CPUs it may run on, as libvirt says; empty: libvirt could not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainChannels:
    """The channels of one description of a domain, and its room for more.

    A domain has two descriptions: as it runs, and as it is defined.
    """

    vcpus: frozenset[VCpu] = frozenset()
    """vCPUs that are online now, or will be at the next start."""
    present: frozenset[int] = frozenset()
    """Numbers of all channels in the description, usable or not."""
    removable: frozenset[int] = frozenset()
    """Those of them that onboarding may detach: the daemon only what one of its rules
    attached, the command whatever onboarding attached."""
    free_ports: int = 0
    """Channels that fit without another controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec:
    """A domain at one moment, from libvirt's descriptions; the running one counts."""

    uuid: DomainId
    name: str
    state: DomainState
    run: int = -1
    """libvirt's numeric id, new at each start; -1 while it is off."""
    vcpus: tuple[VCpuSpec, ...] = ()
    channels: tuple[ChannelSpec, ...] = ()
    live: DomainChannels | None = None
    """Of the running domain; None while it is off."""
    definition: DomainChannels | None = None
    """Of what it will be at its next start; None: it is transient."""
    is_pinned: bool = False
    """Whether it says of any vCPU on which host CPUs it may run."""
    interfaces: tuple[InterfaceSpec, ...] = ()
    """Its network interfaces, for those who count packets."""
    policy: DomainPolicy | None = None
    """What its metadata allows it; None: it says nothing."""
    problems: tuple[str, ...] = ()
    """What in its XML we refused, one sentence each, for people."""

    def is_named(self, pattern: str) -> bool:
        """Whether a rule means it: by its UUID, or by a shell pattern of its name."""
        return pattern.lower() == self.uuid or fnmatchcase(self.name, pattern)


class InterfaceKind(StrEnum):
    """Where the host counts the packets of an interface."""

    TAP = "tap"
    """In a tap device; what the guest receives is what the host sends into it."""
    MACVTAP = "macvtap"
    """In a macvtap device; it counts as the guest sees it."""
    VIRTUAL_FUNCTION = "virtual function"
    """In the physical function of a network card."""
    UNCOUNTED = "uncounted"
    """Nowhere that the host's kernel knows of: vhost-user, vDPA, user networking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSpec:
    """One interface as the domain's XML describes it."""

    mac: str
    """As in 52:54:00:12:34:56, lower case."""
    kind: InterfaceKind
    device: str | None = None
    """Name of the host's tap or macvtap device, while the domain runs."""
    pci: str | None = None
    """Host address of a virtual function, as in 0000:3b:02.0."""
