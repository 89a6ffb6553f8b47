# SPDX-License-Identifier: Apache-2.0
"""Chooses the P-states of a domain, and the I/O ports that carry its requests.

A request is one byte, so a port serves 16 vCPUs with 16 steps each, or 32 with 8. QEMU
has four ISA serial devices, the console's among them; so three ports are left, and at
most 64 vCPUs can have P-states.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import DomainXmlError
from orchestrator.limits import window_of
from orchestrator.values.frequencies import FrequencyTable
from orchestrator.values.p_states import (
    MAX_VCPUS,
    PStatePort,
    PStates,
    steps_per_vcpu,
    vcpus_per_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.limits import Limits

IO_BASES = (0x5C0, 0x5D0, 0x5E0, 0x590, 0x5A0)
"""I/O addresses where neither QEMU's machines nor guests' drivers have a device; those
of fw_cfg begin at 0x510, of power management at 0x600. Each has 8 addresses."""
SERIAL_DEVICES = 4
"""ISA serial devices of a QEMU machine. Source: MAX_ISA_SERIAL_PORTS of QEMU."""
_IRQ = 3
"""QEMU's second serial line. A device whose interrupts no driver enables may share it
with another one."""
_MANY_STEPS, _MANY_VCPUS = 4, 3
"""Bits for the step."""
_KHZ_PER_MHZ = 1000


class FreePlaces(NamedTuple):
    """What a domain has free for serial devices."""

    serials: tuple[int, ...]
    """Numbers of serial devices, ascending, without that of a console."""
    io_bases: tuple[int, ...]
    """Addresses of `IO_BASES`."""


class PStatePlan(NamedTuple):
    """The P-states that a domain should have."""

    p_states: PStates
    serials: tuple[int, ...]
    """The number of the serial device of each port."""


def plan_p_states(
    tables: Sequence[FrequencyTable | None], free: FreePlaces
) -> PStatePlan:
    """Choose the ports, and fit the tables into them.

    Args:
        tables: for each vCPU that the domain may ever have; None: it gets none.
        free: what the domain has free.

    Raises:
        DomainXmlError: no vCPU has a table, or there are not enough ports.
    """
    count = max(
        (vcpu + 1 for vcpu, it in enumerate(tables) if it is not None), default=0
    )
    if not count:
        raise DomainXmlError("no vCPU can have P-states")
    places = list(zip(free.serials, free.io_bases, strict=False))
    bits = _choose_step_bits(count, len(places))
    ports = tuple(
        PStatePort(
            io_base=io_base,
            irq=_IRQ,
            first_vcpu=first,
            vcpus=min(vcpus_per_port(bits), count - first),
            step_bits=bits,
        )
        for (_, io_base), first in zip(
            places, range(0, count, vcpus_per_port(bits)), strict=False
        )
    )
    fitted = tuple(
        None if table is None else thin_out(table, steps_per_vcpu(bits))
        for table in tables[:count]
    )
    serials = tuple(serial for serial, _ in places[: len(ports)])
    return PStatePlan(PStates(tables=fitted, ports=ports), serials)


def cut_table(table: FrequencyTable, *limits: Limits) -> FrequencyTable | None:
    """Return the steps of a table within limits that a guest can distinguish.

    Guests find frequencies in MHz, and turbo as 1 MHz above nominal.

    Returns:
        None: fewer than two steps are left, and a driver needs two.
    """
    khz = window_of(table, *limits).khz
    has_turbo = table.has_turbo and khz[:2] == table.khz[:2]
    turbo = khz[: int(has_turbo)]
    steps = (*turbo, *_in_whole_mhz(khz[len(turbo) :]))
    return FrequencyTable(steps, has_turbo) if len(steps) > 1 else None


def thin_out(table: FrequencyTable, most: int) -> FrequencyTable:
    """Return a table of at most so many steps.

    The highest, the nominal and the lowest step stay, and others as far apart as
    possible.

    Args:
        table: the table.
        most: at least 3.
    """
    if len(table.khz) <= most:
        return table
    turbo = table.khz[: int(table.has_turbo)]
    steps = table.khz[len(turbo) :]
    gaps, last = most - len(turbo) - 1, len(steps) - 1
    chosen = (steps[number * last // gaps] for number in range(gaps + 1))
    return FrequencyTable((*turbo, *chosen), table.has_turbo)


def _choose_step_bits(vcpus: int, ports: int) -> int:
    """Choose 16 steps for each vCPU if the ports suffice, else 8.

    Raises:
        DomainXmlError: they do not suffice for 8.
    """
    if vcpus > MAX_VCPUS:
        raise DomainXmlError(
            f"{vcpus} vCPUs: at most {MAX_VCPUS} can have P-states",
            hint="give it channels instead",
        )
    for bits in (_MANY_STEPS, _MANY_VCPUS):
        if vcpus <= ports * vcpus_per_port(bits):
            return bits
    raise DomainXmlError(
        f"not enough serial ports for the P-states of {vcpus} vCPUs: QEMU has"
        f" {SERIAL_DEVICES}, the console's among them, and {ports} can be used; each"
        f" serves {vcpus_per_port(_MANY_VCPUS)} vCPUs",
        hint="remove other serial devices from the domain, or give it channels instead",
    )


def _in_whole_mhz(khz: Sequence[int]) -> Iterator[int]:
    """Yield the steps that differ from the one before in MHz."""
    before = -1
    for step in khz:
        mhz = step // _KHZ_PER_MHZ
        if mhz != before and mhz:
            yield step
        before = mhz
