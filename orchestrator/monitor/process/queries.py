# SPDX-License-Identifier: Apache-2.0
"""Replies to queries: frequencies, capabilities and energy of a guest's own domain.

A frequency is the grant of the vCPU's clock group: the last one that the kernel
accepted. It is 0 if not known: the group is not taken, or the vCPU floats. It is not
measured; DPDK's own host does not measure it either.

Replies have room for 8 vCPUs. `num_vcpu` never exceeds that, although a domain may have
more: DPDK's guest command line prints as many entries as it says.

Energies are those that main wrote into the row of the domain in the shared table, so
that no query waits for main.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    MAX_VCPUS,
    Capabilities,
    Command,
    Frequencies,
    encode_capabilities,
    encode_energy,
    encode_energy_refusal,
    encode_frequencies,
    encode_refusal,
)
from orchestrator.monitor.link.table import ACCOUNTED_AT, read_figures
from orchestrator.values.refusal import Permission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.channel.protocol import Generation, Request
    from orchestrator.monitor.arbiter import VCpu
    from orchestrator.monitor.process.clock import Clock

QUERY_ENERGY = int(Command.QUERY_ENERGY)
QUERIES = {
    int(Command.QUERY_FREQ_LIST): Permission.QUERIES,
    int(Command.QUERY_FREQ): Permission.QUERIES,
    int(Command.QUERY_CAPS_LIST): Permission.QUERIES,
    int(Command.QUERY_CAPS): Permission.QUERIES,
    QUERY_ENERGY: Permission.ENERGY_QUERIES,
}
"""Commands that are queries, with the permission that a guest needs."""
FIGURES_VALID_NS = 10_000_000_000
"""Main writes energies each second, and every five while nothing changes. Older ones
are those of an accounting that has ended, or is held up."""
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


def build_energy_reply(
    packet: bytes, words: memoryview[int], index: int, now_ns: int
) -> bytes | None:
    """Return the reply to a query of energy; None: it is not accounted.

    Args:
        packet: all of the query; its name is returned unchanged.
        words: of the shared table.
        index: where the row of the domain begins there.
        now_ns: the time (monotonic).
    """
    accounted_ns = words[index + ACCOUNTED_AT]
    if not accounted_ns or now_ns - accounted_ns > FIGURES_VALID_NS:
        return None
    return encode_energy(read_figures(words, index), vm_name=packet[NAME])


def build_refusal(query: int, packet: bytes, generation: Generation) -> bytes:
    """Return the refusal of a query, in the size of the reply that is expected."""
    if query == QUERY_ENERGY:
        return encode_energy_refusal(vm_name=packet[NAME])
    return encode_refusal(query, generation, vm_name=packet[NAME])


def _grant_khz(vcpu: VCpu | None, clocks: Mapping[int, Clock]) -> int:
    khz = [clocks[group.number].khz for group in vcpu.groups] if vcpu else []
    # The threads of a core run at the highest frequency that is set for one of them.
    return max(khz) if all(khz) and khz else 0


def _has_turbo(vcpu: VCpu | None) -> bool:
    if vcpu is None or vcpu.group is None:
        return False
    return vcpu.group.steps.has_turbo and vcpu.is_turbo_allowed
