"""Where a server works: its sockets, its simulated CPUs, its domains."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from orchestrator.domain_xml.channel import build_channel, build_target
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CPU_DIR
from orchestrator.values.domain import (
    ChannelSpec,
    DomainId,
    DomainSpec,
    DomainState,
    PCpu,
    VCpu,
    VCpuSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY = Path("/dev/shm")  # writes of a clock should cost as little as the kernel's


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One directory with everything that one server and its load need."""

    directory: Path
    channels: int
    per_domain: int
    """Channels, and vCPUs, of each domain."""
    cpus: int
    """Simulated; the vCPU of channel N is pinned to CPU N modulo this."""

    @property
    def sockets(self) -> Path:
        """Where the load listens: channel N at the name N."""
        return self.directory / "s"

    @property
    def tree(self) -> Path:
        """Root of the simulated CPUs."""
        return self.directory / "tree"

    @property
    def run_dir(self) -> Path:
        """The daemon's own."""
        return self.directory / "run"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "log"

    @property
    def domains(self) -> tuple[range, ...]:
        """The channels of each domain."""
        step = self.per_domain
        ends = range(0, self.channels, step)
        return tuple(range(end, min(end + step, self.channels)) for end in ends)

    def pcpu(self, channel: int) -> int:
        """Return the CPU that the vCPU of a channel is pinned to."""
        return channel % self.cpus

    def read_clock(self, channel: int) -> int:
        """Return the clock of a channel's CPU, in kHz."""
        policy = self.tree / CPU_DIR / "cpufreq" / f"policy{self.pcpu(channel)}"
        return int((policy / "scaling_setspeed").read_text(encoding="ascii").split()[0])


@contextmanager
def make_place(*, channels: int, per_domain: int, cpus: int) -> Iterator[Place]:
    """Lay everything out, and remove it in the end."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="vmpb", dir=parent))
    place = Place(
        directory=directory, channels=channels, per_domain=per_domain, cpus=cpus
    )
    try:
        place.sockets.mkdir()
        lay_out(place.tree, cpus=cpus)
        yield place
    finally:
        shutil.rmtree(directory)


def build_node(place: Place) -> str:
    """Write the world of libvirt's test driver: all domains, running."""
    domains = "".join(
        build_domain(place, number, f" id='{number + 1}'")
        for number in range(len(place.domains))
    )
    return f"<node>{domains}</node>"


def build_domain(place: Place, number: int, attributes: str = "") -> str:
    """Write one domain for libvirt's test driver."""
    members = place.domains[number]
    pins = "".join(
        f"<vcpupin vcpu='{vcpu}' cpuset='{place.pcpu(channel)}'/>"
        for vcpu, channel in enumerate(members)
    )
    channels = "".join(
        build_channel(vcpu, str(place.sockets / str(channel)))
        for vcpu, channel in enumerate(members)
    )
    return (
        f"<domain type='test'{attributes}><name>bench-{number}</name>"
        f"<uuid>{UUID(int=number + 1)}</uuid><memory>65536</memory>"
        f"<vcpu>{len(members)}</vcpu><cputune>{pins}</cputune>"
        "<os><type>hvm</type></os>"
        f"<devices><controller type='virtio-serial' index='0'/>{channels}</devices>"
        "</domain>"
    )


def describe_domain(place: Place, number: int) -> DomainSpec:
    """Describe a domain as libvirt would, wherever its CPUs are."""
    members = place.domains[number]
    return DomainSpec(
        uuid=DomainId(str(UUID(int=number + 1))),
        name=f"bench-{number}",
        state=DomainState.RUNNING,
        run=number + 1,
        vcpus=tuple(
            VCpuSpec(vcpu=VCpu(vcpu), pinning=frozenset({PCpu(place.pcpu(channel))}))
            for vcpu, channel in enumerate(members)
        ),
        channels=tuple(
            ChannelSpec(
                number=vcpu,
                target=build_target(vcpu),
                path=str(place.sockets / str(channel)),
                alias=f"channel{vcpu}",
            )
            for vcpu, channel in enumerate(members)
        ),
    )
