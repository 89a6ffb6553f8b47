# SPDX-License-Identifier: Apache-2.0
"""Domains, vCPUs, channels and interfaces as values: no libvirt, no XML, no I/O.

A domain is identified by its UUID; its name can change and is only for people.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, NewType

if TYPE_CHECKING:
    from orchestrator.values.domain_settings import DomainSettings
    from orchestrator.values.p_states import PortSteps, PStates

DomainId = NewType("DomainId", str)
"""A libvirt UUID in canonical text form."""
VCpu = NewType("VCpu", int)
"""Number of a virtual CPU within its domain."""
PCpu = NewType("PCpu", int)
"""Number of a host CPU: N of /sys/devices/system/cpu/cpuN."""
Target = NewType("Target", str)
"""Name of a channel in the guest: virtio.serial.port.poweragent.N."""

TARGET_PREFIX = "virtio.serial.port.poweragent."
MAX_CHANNEL_NUMBER = 1279
"""Highest valid channel number: the largest RTE_MAX_LCORE of any DPDK build is 1280, on
ARM SoCs. Channels with higher numbers are reported and ignored."""
MAX_SOCKET_PATH_BYTES = 107
"""Longest path of a UNIX socket: sun_path has 108 bytes including its terminating zero
(unix(7))."""


class DomainState(StrEnum):
    """A domain's state, with virsh's names.

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
        """Whether QEMU is running, so that channels can be connected."""
        return self not in (DomainState.SHUTOFF, DomainState.CRASHED)

    @property
    def is_executing(self) -> bool:
        """Whether vCPUs are running, so that their votes count."""
        return self in (DomainState.RUNNING, DomainState.BLOCKED)


class ChannelKind(StrEnum):
    """What a channel carries, as `vmpower channel list` shows it."""

    AGENT = "agent"
    """Packets of a power agent in the guest, such as DPDK, over a virtio-serial port;
    they are answered."""
    P_STATES = "p-states"
    """Requests of the guest's own cpufreq driver, one byte each; see
    `values.p_states`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """One channel, from the domain's XML."""

    number: int
    """N of the target name; by DPDK's convention the lcore that uses it. See
    `values.p_state_channels` for those of P-states."""
    target: Target
    path: str | None
    """Socket on the host; None while libvirt has not chosen one (the domain is off)."""
    alias: str | None = None
    """libvirt's name of the device in a running domain, as in `channel0`."""
    is_guest_connected: bool | None = None
    """Whether the guest has its port open; None: not reported by libvirt."""
    socket: str | None = None
    """Inode and creation time of its socket, which is a new one at each start of the
    domain; None: there is none yet."""
    steps: PortSteps | None = None
    """What its bytes request, if it is a P-state channel; None: it has packets."""

    @property
    def kind(self) -> ChannelKind:
        """What it carries."""
        return ChannelKind.AGENT if self.steps is None else ChannelKind.P_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class VCpuSpec:
    """One online vCPU of a domain."""

    vcpu: VCpu
    pinning: frozenset[PCpu]
    """Host CPUs that it may run on; empty: not reported by libvirt."""


class NovaInstance(NamedTuple):
    """The OpenStack instance that a domain is, by Nova's note in its metadata."""

    name: str
    """As its user gave it; empty: not noted."""
    project: str
    """Name of the project that owns it; empty: not noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuThread:
    """A thread of a domain's QEMU process that is not a vCPU, and is pinned."""

    name: str
    """`emulator`, or `I/O thread N`."""
    pinning: frozenset[PCpu]
    """Host CPUs that it may run on."""


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
class GuestPolicy:
    """A policy that the guest of a domain has sent, as noted in the domain."""

    channel: int
    """Number of the channel that it was sent on."""
    text: str
    """The policy in one line, without its interfaces."""
    macs: tuple[str, ...] | None = None
    """The interfaces whose traffic counts; None: all of the domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec:
    """A snapshot of a domain; of a running one, the live description unless noted."""

    uuid: DomainId
    name: str
    state: DomainState
    run: int = -1
    """libvirt's numeric ID, a new one at each start; -1 while the domain is off."""
    vcpus: tuple[VCpuSpec, ...] = ()
    channels: tuple[ChannelSpec, ...] = ()
    """Of both kinds."""
    live: DomainChannels | None = None
    """Channels of the running domain; None while it is off."""
    definition: DomainChannels | None = None
    """Channels of its definition; None: the domain is transient."""
    is_pinned: bool = False
    """Whether its XML pins any vCPU."""
    threads: tuple[QemuThread, ...] = ()
    """Its emulator and I/O threads, as far as they are pinned."""
    interfaces: tuple[InterfaceSpec, ...] = ()
    """Its network interfaces, for policies that count packets."""
    settings: DomainSettings | None = None
    """The settings in its metadata; None: there are none."""
    guest_policies: tuple[GuestPolicy, ...] = ()
    """Those noted in the running domain."""
    has_next_p_states: bool = False
    """Whether its definition has P-states."""
    p_states: PStates | None = None
    """Those that it has booted with, or while it is off, will boot with; None: none."""
    nova: NovaInstance | None = None
    """The OpenStack instance that it is; None: it is none."""
    problems: tuple[str, ...] = ()
    """Parts of its XML that were ignored, one sentence each, for people."""

    def is_named(self, pattern: str) -> bool:
        """Whether a pattern matches its name, or is its UUID."""
        return pattern.lower() == self.uuid or fnmatchcase(self.name, pattern)


class InterfaceKind(StrEnum):
    """Kind of an interface, which decides where the host counts its packets."""

    TAP = "tap"
    """A tap device: what the guest receives is what the host transmits on it."""
    MACVTAP = "macvtap"
    """A macvtap device: it counts from the guest's point of view."""
    VIRTUAL_FUNCTION = "virtual function"
    """A virtual function of a network card: the physical function counts."""
    UNCOUNTED = "uncounted"
    """Not counted by the host's kernel: vhost-user, vDPA, user networking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSpec:
    """One network interface, from the domain's XML."""

    mac: str
    """As in 52:54:00:12:34:56, lower case."""
    kind: InterfaceKind
    device: str | None = None
    """Name of the host's tap or macvtap device while the domain is running."""
    pci: str | None = None
    """Host PCI address of a virtual function, as in 0000:3b:02.0."""
