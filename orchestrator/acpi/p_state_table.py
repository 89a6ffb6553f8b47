# SPDX-License-Identifier: Apache-2.0
r"""The table that gives the processors of a QEMU guest P-states.

Theory of operation: each processor that has a table of frequencies gets the objects
that Linux's acpi-cpufreq and other drivers look for. `_PCT` names one I/O port as
control and as status register; a driver requests a P-state by writing the control value
of its `_PSS` entry, one byte that names the vCPU and the step. `_PPC` is 0, because the
list is cut to what the domain may have: all of it is available. `_PSD` makes each
processor a domain of its own, whose frequency the hardware may set alone.

The port belongs to an ISA serial device of ours. Firmware would enumerate it before the
console, so that the guest's ttyS0 would be our port. So the table clears the device's
`_STA` when it is loaded: the guest's operating system does not find the device, and
ttyS0 is the console, as without us. The status register reads as what QEMU returns for
it; Linux writes, and reads only where a driver verifies.

QEMU names the processors \_SB.CPUS.C000, C001 and so on, by the position of the vCPU,
with all of the largest number of vCPUs that the domain may have. The path of the ISA
bridge depends on the machine type and on QEMU's release; paths that do not exist are
skipped.

Source: ACPI specification 6.5, 8.4.5; drivers/acpi/processor_perflib.c and
drivers/cpufreq/acpi-cpufreq.c of Linux; hw/acpi/cpu.c, hw/char/serial-isa.c and
hw/i386/acpi-build.c of QEMU 7.2 and 10.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.acpi import aml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.values.frequencies import FrequencyTable
    from orchestrator.values.p_states import PStatePort, PStates

IDENTITY = aml.TableIdentity(
    signature=b"SSDT", oem=b"VMPOWR", oem_table=b"PSTATES\x00", creator=b"VMPW"
)
_BRIDGES = (r"\_SB.PCI0.ISA", r"\_SB.PCI0.S08", r"\_SB.PCI0.SF8")
"""The ISA bridge of QEMU before 7.1, of pc, and of q35."""
_REGISTER_BITS = 8
_PSD_ENTRIES, _PSD_REVISION = 5, 0
_SW_ALL = 0xFC
"""Coordination by the operating system, on all processors of the (own) domain."""
_ABSENT = 0
_KHZ_PER_MHZ = 1000


def build_p_state_table(
    p_states: PStates, serials: Iterable[int], latency_us: int
) -> bytes:
    """Build the table of a domain.

    Args:
        p_states: of the domain.
        serials: numbers of the serial devices of its ports, from 0.
        latency_us: the time that a change takes, for the guest. Governors that choose
            by load derive from it how often they request.
    """
    processors = (
        _processor(port, vcpu, table, latency_us)
        for port, vcpu, table in _each_vcpu(p_states)
    )
    body = b"".join((*map(_hide, serials), *processors))
    return aml.build_table(IDENTITY, body)


def _each_vcpu(
    p_states: PStates,
) -> Iterator[tuple[PStatePort, int, FrequencyTable]]:
    for port in p_states.ports:
        for vcpu in range(port.first_vcpu, port.first_vcpu + port.vcpus):
            table = p_states.tables[vcpu] if vcpu < len(p_states.tables) else None
            if table is not None:
                yield port, vcpu, table


def _hide(serial: int) -> bytes:
    """Keep the guest from finding a serial device."""
    statuses = (f"{bridge}.COM{serial + 1}._STA" for bridge in _BRIDGES)
    return b"".join(
        aml.if_exists(status, aml.store(aml.integer(_ABSENT), status))
        for status in statuses
    )


def _processor(
    port: PStatePort, vcpu: int, table: FrequencyTable, latency_us: int
) -> bytes:
    register = aml.io_register(port.io_base, _REGISTER_BITS)
    states = (
        _state(mhz, port.encode(vcpu, step), latency_us)
        for step, mhz in enumerate(mhz_of(table))
    )
    coordination = (_PSD_ENTRIES, _PSD_REVISION, vcpu, _SW_ALL, 1)
    return aml.scope(
        rf"\_SB.CPUS.C{vcpu:03X}",
        aml.declare_name("_PCT", aml.package((register, register))),
        aml.declare_name("_PSS", aml.package(states)),
        aml.declare_name("_PPC", aml.integer(0)),
        aml.declare_name(
            "_PSD", aml.package([aml.package(map(aml.integer, coordination))])
        ),
    )


def _state(mhz: int, control: int, latency_us: int) -> bytes:
    # The power in mW is not known. It only has to be lower for lower frequencies.
    power_mw = mhz
    values = (mhz, power_mw, latency_us, latency_us, control, control)
    return aml.package(map(aml.integer, values))


def mhz_of(table: FrequencyTable) -> tuple[int, ...]:
    """Return the frequencies of a table as a guest finds them, in MHz.

    Firmware marks turbo as 1 MHz above nominal, which is what guests know it by.
    """
    mhz = tuple(khz // _KHZ_PER_MHZ for khz in table.khz)
    return (mhz[1] + 1, *mhz[1:]) if table.has_turbo else mhz
