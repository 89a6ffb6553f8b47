# SPDX-License-Identifier: Apache-2.0
"""libvirt domains and their vCPUs."""

from __future__ import annotations

from orchestrator.control.models.channels import Channel
from orchestrator.control.models.document import CpuNumber, Document, Khz
from orchestrator.control.models.energy import DomainEnergy
from orchestrator.control.models.policies import Policy
from orchestrator.control.models.rights import Rights
from orchestrator.values.domain import DomainState
from orchestrator.values.domain_settings import Mode

__all__ = ["Domain", "DomainList", "QemuThread", "Vcpu"]


class Vcpu(Document):
    """One virtual CPU of a domain."""

    vcpu: CpuNumber
    """Number of the vCPU."""
    pcpus: tuple[CpuNumber, ...]
    """Host CPUs that it may run on, lowest first."""
    controllable: bool
    """Whether its frequency can follow requests."""
    reason: str | None
    """Why it is not controllable; null if it is."""
    requested_khz: Khz | None
    """Frequency requested for it, in kHz; null without a vote."""
    wish_khz: Khz | None
    """Earlier name of `requested_khz`."""
    clock_group: int | None = None
    """Clock group that it is pinned into, the lowest of `clock_groups`; null if it is
    not controllable."""
    min_khz: Khz | None = None
    """Lowest step within the bounds of the host, the kernel and the domain, in kHz;
    null without a clock group."""
    max_khz: Khz | None = None
    """Highest step within them, in kHz, a turbo step only if the domain may use turbo;
    null without a clock group."""
    min_source: str | None = None
    """Source of the lowest step: `hardware`, `host`, `kernel`, `rule PATTERN` or
    `metadata`; null without a clock group."""
    max_source: str | None = None
    """Source of the highest step: as above, or `turbo off (SOURCE)` where turbo is not
    allowed or switched off; null without a clock group."""
    refusal: str | None = None
    """Why its requests are refused, as in `nack_reasons`: `floating`, where another
    pinning makes it controllable, or `unmanaged`, where its CPUs have no frequency that
    can be set; null if it is controllable."""
    clock_groups: tuple[int, ...] = ()
    """All clock groups that its requests apply to: several if it is pinned to threads
    of one core that are clock groups of their own."""
    idle_states: tuple[str, ...] | None = None
    """Names of the kernel's idle states that all its CPUs may enter, the shallowest
    first, by the limit of their idle latency; null: not limited, or not known."""


class QemuThread(Document):
    """A pinned thread of a domain's QEMU process that is not a vCPU."""

    name: str
    """`emulator`, or `I/O thread N`."""
    pcpus: tuple[CpuNumber, ...]
    """Host CPUs that it may run on, lowest first."""


class Domain(Document):
    """One libvirt domain."""

    uuid: str
    """UUID."""
    name: str
    """Name."""
    state: DomainState
    """State, as virsh prints it."""
    mode: Mode
    """Whether its requests change frequencies."""
    vcpus: tuple[Vcpu, ...]
    """Its vCPUs."""
    channels: tuple[Channel, ...]
    """Its poweragent channels, in the order of their numbers."""
    rights: Rights | None = None
    """Its bounds and rights; null if they are not resolved."""
    id: int | None = None
    """libvirt's ID; null while it is not running."""
    reason: str | None = None
    """Why it does not take part; null if it does."""
    problems: tuple[str, ...] = ()
    """What was rejected in its description, one sentence each."""
    policies: tuple[Policy, ...] = ()
    """Policies in force for it."""
    energy: DomainEnergy | None = None
    """Its energy; null: not accounted."""
    threads: tuple[QemuThread, ...] = ()
    """Its emulator and I/O threads, as far as they are pinned."""


class DomainList(Document):
    """All domains, running or not."""

    domains: tuple[Domain, ...]
    """In the order of their names."""
