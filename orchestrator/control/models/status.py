# SPDX-License-Identifier: Apache-2.0
"""The status document: what `vmpower status -o json` prints."""

from __future__ import annotations

from pydantic import Field

from orchestrator.control.models.cpus import Cpu, UnmanagedCpu
from orchestrator.control.models.daemon import DaemonStatus, LibvirtStatus
from orchestrator.control.models.document import Document
from orchestrator.control.models.domains import Domain
from orchestrator.control.models.energy import HostEnergy
from orchestrator.power.attribute_state import Outcome

__all__ = ["SCHEMA", "KernelSetting", "Status"]

SCHEMA = 1
"""Version of the status document; raised only if a key is removed or changes its
meaning."""


class KernelSetting(Document):
    """A setting of the kernel, frequencies aside, that the daemon is to hold."""

    name: str
    """What it is, and of which CPUs, clock groups or dies: `idle latency of CPUs
    2-3`."""
    value: str | None
    """What the kernel shows, for people; null if it is not known."""
    outcome: Outcome
    """What became of it."""
    problem: str | None = None
    """Why it could not be set; null if it could."""


class Status(Document):
    """The daemon, libvirt, all domains and all host CPUs."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    """Version of this document; raised only if a key is removed or changes its
    meaning."""
    daemon: DaemonStatus
    """The running daemon."""
    libvirt: LibvirtStatus
    """The connection to libvirt."""
    domains: tuple[Domain, ...]
    """All domains, running or not, in the order of their names."""
    cpus: tuple[Cpu, ...]
    """Host CPUs whose frequency can be set, in the order of their numbers."""
    unmanaged_cpus: tuple[UnmanagedCpu, ...] = ()
    """Host CPUs whose frequency cannot be set."""
    energy: HostEnergy | None = None
    """Energy of the host's processors; null: not accounted."""
    kernel_settings: tuple[KernelSetting, ...] = ()
    """Settings of the kernel that the daemon is to hold for the host or for domains:
    idle latencies, energy preferences, uncore frequencies, turbo switches."""
