# SPDX-License-Identifier: Apache-2.0
"""A server's directory: sockets, simulated CPUs, and the domains in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from orchestrator.domain_xml.channel import build_channel, build_target
from orchestrator.power.simulated import lay_out
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER, find_simulated
from orchestrator.power.sysfs import CPU_DIR
from orchestrator.values.domain import (
    ChannelKind,
    ChannelSpec,
    DomainId,
    DomainSpec,
    DomainState,
    PCpu,
    VCpu,
    VCpuSpec,
)
from orchestrator.values.p_state_channels import build_channels
from orchestrator.values.p_states import PStateEndpoint, PStatePort, PStates

if TYPE_CHECKING:
    from collections.abc import Iterator

# in memory: writing a frequency should cost as little as the kernel's own files
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One directory with everything that one server and its load need."""

    directory: Path
    channels: int
    per_domain: int
    """Channels, and vCPUs, of each domain."""
    cpus: int
    """Simulated; the vCPU of channel N is pinned to CPU N modulo this number."""
    driver: str = DEFAULT_DRIVER
    """Scaling driver of the simulated CPUs."""
    kind: ChannelKind = ChannelKind.AGENT
    """Of all channels."""

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
        """The daemon's run directory."""
        return self.directory / "run"

    @property
    def log(self) -> Path:
        """The server's log."""
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

    def frequency_file(self, channel: int) -> Path:
        """Return where the frequency of a channel's CPU is set."""
        policy = self.tree / CPU_DIR / "cpufreq" / f"policy{self.pcpu(channel)}"
        return policy / find_simulated(self.driver).frequency_file

    def read_khz(self, channel: int) -> int:
        """Return the frequency of a channel's CPU, in kHz."""
        text = self.frequency_file(channel).read_text(encoding="ascii")
        return int(text.split()[0])


@contextmanager
def make_workspace(
    *,
    channels: int,
    per_domain: int,
    cpus: int,
    driver: str = DEFAULT_DRIVER,
    kind: ChannelKind = ChannelKind.AGENT,
) -> Iterator[Workspace]:
    """Create the directory, and remove it at the end."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="vmpb", dir=parent))
    workspace = Workspace(
        directory=directory,
        channels=channels,
        per_domain=per_domain,
        cpus=cpus,
        driver=driver,
        kind=kind,
    )
    try:
        workspace.sockets.mkdir()
        lay_out(workspace.tree, cpus=cpus, driver=driver)
        yield workspace
    finally:
        shutil.rmtree(directory)


def build_node(workspace: Workspace) -> str:
    """Return the file of libvirt's test driver: all domains, running."""
    domains = "".join(
        build_domain(workspace, number, f" id='{number + 1}'")
        for number in range(len(workspace.domains))
    )
    return f"<node>{domains}</node>"


def build_domain(workspace: Workspace, number: int, attributes: str = "") -> str:
    """Return one domain's XML for libvirt's test driver."""
    members = workspace.domains[number]
    pins = "".join(
        f"<vcpupin vcpu='{vcpu}' cpuset='{workspace.pcpu(channel)}'/>"
        for vcpu, channel in enumerate(members)
    )
    channels = "".join(
        build_channel(vcpu, str(workspace.sockets / str(channel)))
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


def describe_domain(workspace: Workspace, number: int) -> DomainSpec:
    """Return a domain's description as from libvirt, on any CPUs."""
    members = workspace.domains[number]
    return DomainSpec(
        uuid=DomainId(str(UUID(int=number + 1))),
        name=f"bench-{number}",
        state=DomainState.RUNNING,
        run=number + 1,
        vcpus=tuple(
            VCpuSpec(
                vcpu=VCpu(vcpu), pinning=frozenset({PCpu(workspace.pcpu(channel))})
            )
            for vcpu, channel in enumerate(members)
        ),
        channels=tuple(
            _describe_channel(workspace, vcpu, channel)
            for vcpu, channel in enumerate(members)
        ),
    )


def _describe_channel(workspace: Workspace, vcpu: int, channel: int) -> ChannelSpec:
    path = str(workspace.sockets / str(channel))
    if workspace.kind is ChannelKind.AGENT:
        target = build_target(vcpu)
        return ChannelSpec(
            number=vcpu, target=target, path=path, alias=f"channel{vcpu}"
        )
    (spec,) = build_channels(describe_p_states(workspace, channel, vcpu))
    return replace(spec, number=spec.number + vcpu)


def describe_p_states(workspace: Workspace, channel: int, vcpu: int = 0) -> PStates:
    """Return the P-states of one vCPU of a domain, with a port of its own."""
    port = PStatePort(
        io_base=0x5C0 + 8 * vcpu, irq=3, first_vcpu=vcpu, vcpus=1, step_bits=4
    )
    path = str(workspace.sockets / str(channel))
    return PStates(
        tables=(None,) * vcpu + (find_simulated(workspace.driver).steps,),
        ports=(port,),
        endpoints=(PStateEndpoint(port, path, f"serial{vcpu}"),),
    )
