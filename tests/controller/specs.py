# SPDX-License-Identifier: Apache-2.0
"""Hosts and domains as the tests of the controller describe them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.power.group import ClockGroup
from orchestrator.power.topology import Topology
from orchestrator.values.domain import (
    ChannelSpec,
    DomainChannels,
    DomainId,
    DomainSpec,
    DomainState,
    PCpu,
    Target,
    VCpu,
    VCpuSpec,
)
from orchestrator.values.frequencies import table_from

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW_NS = 10_000_000_000
"""The time of the monotonic clock."""
STEPS = table_from([3_001_000, 3_000_000, 2_000_000, 1_200_000])


def topology(cpus: int = 8, shared: int = 1, offline: Iterable[int] = ()) -> Topology:
    online = frozenset(PCpu(n) for n in range(cpus) if n not in set(offline))
    groups = []
    for first in range(0, cpus, shared):
        pcpus = frozenset(PCpu(n) for n in range(first, first + shared)) & online
        if pcpus:
            groups.append(
                ClockGroup(
                    number=first,
                    pcpus=pcpus,
                    driver="acpi-cpufreq",
                    mechanism="setspeed",
                    identity=1,
                    governor="schedutil",
                    min_khz=1_200_000,
                    max_khz=3_001_000,
                    steps=STEPS,
                    is_simulated=True,
                )
            )
    unmanaged = {PCpu(n): "offline" for n in offline}
    return Topology(groups=tuple(groups), unmanaged=unmanaged, online=online)


def channel(number: int, path: str | None = None, **more: object) -> ChannelSpec:
    return ChannelSpec(
        number=number,
        target=Target(f"virtio.serial.port.poweragent.{number}"),
        path=path or f"/run/channel.{number}",
        alias=f"channel{number}",
        **more,  # type: ignore[arg-type]
    )


def domain(name: str = "dpdk-0", **more: object) -> DomainSpec:
    values: dict[str, object] = {
        "uuid": DomainId(f"uuid-of-{name}"),
        "name": name,
        "state": DomainState.RUNNING,
        "run": 1,
        "vcpus": (vcpu(0, 0), vcpu(1, 1)),
        "channels": (channel(0), channel(1)),
    }
    spec = DomainSpec(**{**values, **more})  # type: ignore[arg-type]
    if name != "dpdk-0":
        spec = replace(spec, channels=tuple(_own(it, name) for it in spec.channels))
    held = holdings(spec)
    if "live" not in more and spec.state.is_active:
        spec = replace(spec, live=held)
    return spec if "definition" in more else replace(spec, definition=held)


def _own(item: ChannelSpec, name: str) -> ChannelSpec:
    """Give a channel with the default path one that no other domain has."""
    is_default = item.path == f"/run/channel.{item.number}"
    return replace(item, path=f"/run/{name}.{item.number}") if is_default else item


def holdings(spec: DomainSpec) -> DomainChannels:
    numbers = frozenset(item.number for item in spec.channels)
    vcpus = frozenset(item.vcpu for item in spec.vcpus)
    return DomainChannels(vcpus=vcpus, present=numbers, free_ports=30 - len(numbers))


def vcpu(number: int, *pcpus: int) -> VCpuSpec:
    return VCpuSpec(vcpu=VCpu(number), pinning=frozenset(map(PCpu, pcpus)))
