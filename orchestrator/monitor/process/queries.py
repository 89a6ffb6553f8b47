# SPDX-License-Identifier: Apache-2.0
"""Replies to queries: frequencies and capabilities of a guest's own vCPUs.

A frequency is the grant of the vCPU's clock group: the last one that the kernel
accepted. It is 0 if not known: the group is not taken, or the vCPU floats. It is not
measured; DPDK's own host does not measure it either.

Replies have room for 8 vCPUs. `num_vcpu` never exceeds that, although a domain may have
more: DPDK's guest command line prints as many entries as it says.
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
"""Commands that are queries."""
_OF_ONE = frozenset(map(int, (Command.QUERY_FREQ, Command.QUERY_CAPS)))
_OF_FREQUENCIES = frozenset(map(int, (Command.QUERY_FREQ, Command.QUERY_FREQ_LIST)))
NAME = slice(16, 48)
"""Position of the name in a packet. It is returned, so that a guest can match replies
by it."""


def build_reply(
    query: Request,
    packet: bytes,
    generation: Generation,
    vcpus: Mapping[int, VCpu],
    clocks: Mapping[int, Clock],
) -> bytes | None:
    """Return the reply to a query.

    Args:
        query: its fields.
        packet: all of it; its name is returned unchanged.
        generation: of the guest.
        vcpus: of the guest.
        clocks: by clock group.

    Returns:
        None: no such vCPU, or no room for it.
    """
    selected = range(MAX_VCPUS)
    if query.command in _OF_ONE:
        if query.vcpu >= MAX_VCPUS or query.vcpu not in vcpus:
            return None
        selected = range(query.vcpu, query.vcpu + 1)
    slots = [vcpus.get(n) if n in selected else None for n in range(MAX_VCPUS)]
    head = (query.vcpu, query.unit)
    count = min(len(vcpus), MAX_VCPUS)
    if query.command in _OF_FREQUENCIES:
        khz = tuple(_grant_khz(vcpu, clocks) for vcpu in slots)
        frequencies = Frequencies(*head, vm_name=packet[NAME], khz=khz, num_vcpu=count)
        return encode_frequencies(frequencies, generation)
    turbo = tuple(int(_has_turbo(vcpu)) for vcpu in slots)
    reply = Capabilities(*head, vm_name=packet[NAME], turbo=turbo, num_vcpu=count)
    return encode_capabilities(reply, generation)


def _grant_khz(vcpu: VCpu | None, clocks: Mapping[int, Clock]) -> int:
    khz = [clocks[group.number].khz for group in vcpu.groups] if vcpu else []
    # The threads of a core run at the highest frequency that is set for one of them.
    return max(khz) if all(khz) and khz else 0


def _has_turbo(vcpu: VCpu | None) -> bool:
    if vcpu is None or vcpu.group is None:
        return False
    return vcpu.group.steps.has_turbo and vcpu.is_turbo_allowed
