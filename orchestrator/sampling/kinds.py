# SPDX-License-Identifier: Apache-2.0
"""The table of samplers: every kind of sample and the class that reads it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.sampling.contract import Sampler
    from orchestrator.sampling.vcpu_times import VCpuTimes


class SampleKind(Enum):
    """A kind of sample."""

    PACKETS = "packets"
    """Packets per second that the domain's interfaces received."""
    BRANCHES = "branches"
    """Retired and mispredicted branches of the host CPUs of a vCPU."""
    VCPU_TIME = "vcpu-time"
    """Share of time for which a vCPU ran, 0 to 1."""

    @property
    def is_of_interfaces(self) -> bool:
        """Whether it depends on which network interfaces are sampled."""
        return self is SampleKind.PACKETS


Samplers: TypeAlias = "Mapping[SampleKind, Sampler[Any, Any]]"
"""A sampler for every kind of sample."""


def build_samplers(*, sysfs_root: Path, vcpu_times: VCpuTimes) -> Samplers:
    """Return the samplers of this host; nothing is opened before the first read.

    Args:
        sysfs_root: /sys or an imitation.
        vcpu_times: reads for how long vCPUs have run.
    """
    # Imported here: policies only name a kind of sample, and the command that reads
    # their text must not load sockets and perf for it.
    from orchestrator.sampling.branches import BranchSampler
    from orchestrator.sampling.packets import PacketSampler
    from orchestrator.sampling.vcpu_times import VCpuTimeSampler

    return {
        SampleKind.PACKETS: PacketSampler(sysfs_root),
        SampleKind.BRANCHES: BranchSampler(),
        SampleKind.VCPU_TIME: VCpuTimeSampler(vcpu_times),
    }
