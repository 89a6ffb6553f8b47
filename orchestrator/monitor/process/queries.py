"""Replies to queries: what a guest may know of the clocks under its own vCPUs.

The clock is the grant of the vCPU's clock group: the last value that the kernel took
from us. It is 0 while we know none: the group is not taken, or the vCPU floats. It is
not measured, as DPDK's own host does not measure it either.

Replies have room for 8 vCPUs. `num_vcpu` is never more than that, although a domain may
have more: DPDK's guest command line prints as many entries as it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    MAX_VCPUS,
    Capabilities,
    Command,
    Frequencies,
    encode_capabilities,
    encode_frequencies,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.channel.protocol import Generation, Request
    from orchestrator.monitor.arbiter import VCpu
    from orchestrator.monitor.process.clock import Clock

QUERIES = frozenset(
    map(
        int,
        (
            Command.QUERY_FREQ_LIST,
            Command.QUERY_FREQ,
            Command.QUERY_CAPS_LIST,
            Command.QUERY_CAPS,
        ),
    )
)
"""Commands that ask."""
_OF_ONE = frozenset(map(int, (Command.QUERY_FREQ, Command.QUERY_CAPS)))
_OF_CLOCKS = frozenset(map(int, (Command.QUERY_FREQ, Command.QUERY_FREQ_LIST)))
NAME = slice(16, 48)
"""Where a packet has the name, which is given back: a guest may know answers by it."""


def build_reply(
    query: Request,
    packet: bytes,
    generation: Generation,
    vcpus: Mapping[int, VCpu],
    clocks: Mapping[int, Clock],
) -> bytes | None:
    """Answer a query.

    Args:
        query: its fields.
        packet: all of it; its name is given back as it came.
        generation: the asker's.
        vcpus: the asker's own.
        clocks: by clock group.

    Returns:
        None: there is no such vCPU, or no room for it.
    """
    asked = range(MAX_VCPUS)
    if query.command in _OF_ONE:
        if query.vcpu >= MAX_VCPUS or query.vcpu not in vcpus:
            return None
        asked = range(query.vcpu, query.vcpu + 1)
    slots = [vcpus.get(n) if n in asked else None for n in range(MAX_VCPUS)]
    head = (query.vcpu, query.unit)
    count = min(len(vcpus), MAX_VCPUS)
    if query.command in _OF_CLOCKS:
        khz = tuple(_clock_khz(vcpu, clocks) for vcpu in slots)
        clocks_reply = Frequencies(*head, vm_name=packet[NAME], khz=khz, num_vcpu=count)
        return encode_frequencies(clocks_reply, generation)
    turbo = tuple(int(_has_turbo(vcpu)) for vcpu in slots)
    reply = Capabilities(*head, vm_name=packet[NAME], turbo=turbo, num_vcpu=count)
    return encode_capabilities(reply, generation)


def _clock_khz(vcpu: VCpu | None, clocks: Mapping[int, Clock]) -> int:
    if vcpu is None or vcpu.group is None:
        return 0
    return clocks[vcpu.group.number].khz


def _has_turbo(vcpu: VCpu | None) -> bool:
    if vcpu is None or vcpu.group is None:
        return False
    return vcpu.group.steps.has_turbo and vcpu.is_turbo_allowed
