# SPDX-License-Identifier: Apache-2.0
"""ACPI tables that give QEMU's CPUs performance states, CPPC registers and idle states.

Linux's own drivers then run in the guest, with real governors and real refusals. On x86
the registers are those of ``-device pc-testdev``: a latch of four bytes at port 0xE0,
hence at most four CPUs with P-states, and memory. `tests.power.registers` reads them.

Source: ACPI specification 6.3, sections 8.4.2 (_CST), 8.4.5 (_PCT, _PSS, _PPC, _PSD),
8.4.7 (_CPC) and 14 (PCC).
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, NamedTuple

from examples.guests.cache import GuestError, cached, digest
from tests.power.registers import (
    AMD_CELLS,
    ARM_CELLS,
    DESIRED,
    LATCH_CPUS,
    LATCH_PORT,
    MAXIMUM,
    MINIMUM,
    PCC_BASE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.power.registers import CppcCells

MAX_CPUS = LATCH_CPUS
STEPS_KHZ = (3_001_000, 3_000_000, 2_000_000, 1_200_000)
"""The first is 1 MHz above the second: firmware marks turbo like this."""
IDLE_STATES = ((2, 1000), (50, 500), (200, 100))
"""Latency in us and power in mW of each idle state, from the shallowest."""


class Performance(NamedTuple):
    """The scale of CPPC registers, in units of the registers."""

    highest: int
    nominal: int
    nonlinear: int
    lowest: int

    def khz(self, cells: CppcCells) -> tuple[int, int, int, int]:
        """Return the frequencies."""
        highest, nominal, nonlinear, lowest = (part * cells.unit_khz for part in self)
        return highest, nominal, nonlinear, lowest


AMD_PERFORMANCE = Performance(240, 160, 80, 40)
ARM_PERFORMANCE = Performance(300, 300, 100, 50)


class Table(NamedTuple):
    """A secondary table (SSDT)."""

    identifier: str
    """Its OEM table identifier: eight characters at most."""
    describe: Callable[[int, int], str]
    """Returns the part of a CPU; given its number, and of how many neighboring CPUs a
    clock group consists."""
    preface: str = ""


def build_table(table: Table, *, cpus: int = MAX_CPUS, shared: int = 1) -> Path:
    """Return the compiled table.

    Args:
        table: which one.
        cpus: number of CPUs of the machine.
        shared: number of neighboring CPUs that share one frequency.

    Raises:
        GuestError: iasl is not installed or refuses the table.
    """
    parts = "".join(table.describe(cpu, shared) for cpu in range(cpus))
    source = (
        f'DefinitionBlock ("", "SSDT", 2, "VMPOWR", "{table.identifier}", 1)\n'
        f"{{\n{table.preface}{parts}}}\n"
    )

    def make(target: Path) -> None:
        text = target.with_suffix(".asl")
        text.write_text(source)
        _compile(text, target)

    return cached(f"{table.identifier.lower()}-{digest([source])}.aml", make)


def build_pcc_channel() -> Path:
    """Return the table of a PCC channel that answers itself (PCCT).

    Linux sets autonomous selection and energy performance preference through such a
    channel only, and waits for firmware to complete each command. There is none here:
    the doorbell is the status word of the channel itself, and ringing it sets "command
    complete".
    """
    status = PCC_BASE + 6
    doorbell = struct.pack("<BBBBQ", 0, 16, 0, 2, status)
    # Bits that ringing preserves, and sets; latency, rate and turnaround: none.
    ringing = struct.pack("<QQIIH", 0xFFFE, 1, 1, 0, 0)
    memory = struct.pack("<QQ", PCC_BASE, 0x1000)
    subspace = struct.pack("<BB6x", 0, 62) + memory + doorbell + ringing
    body = struct.pack("<IQ", 0, 0) + subspace
    version = (b"VMPOWR", b"PCCTABLE", 1, b"VMPW", 1)
    head = struct.pack("<4sIBB6s8sI4sI", b"PCCT", 36 + len(body), 1, 0, *version)
    data = bytearray(head + body)
    data[9] = -sum(data) & 0xFF  # the checksum

    def make(target: Path) -> None:
        target.write_bytes(data)

    return cached(f"pcct-{digest([bytes(data)])}.aml", make)


def _describe_pstates(cpu: int, shared: int) -> str:
    states = ",\n".join(
        f"            Package () {{ {khz // 1000}, {khz // 1000}, 10, 10, {n}, {n} }}"
        for n, khz in enumerate(STEPS_KHZ, start=1)
    )
    port = hex(LATCH_PORT + cpu)
    return _fill(
        "pss", device=_x86_name(cpu), port=port, states=states, **_domain(cpu, shared)
    )


def _describe_amd_cppc(cpu: int, shared: int) -> str:
    epp = AMD_CELLS.epp_address(cpu) - PCC_BASE - 8
    registers = _cells_of(AMD_CELLS, cpu) | {
        "autonomous": f"PCC, 32, 0, {epp - 4:#x}, 0",
        "epp": f"PCC, 32, 0, {epp:#x}, 0",
    }
    scale = _scale_of(AMD_PERFORMANCE, AMD_CELLS)
    return _fill(
        "cppc",
        device=_x86_name(cpu),
        registers=_list_registers(registers),
        coordination="0xFC",  # by software, all CPUs
        **scale,
        **_domain(cpu, shared),
    )


def _describe_arm_cppc(cpu: int, shared: int) -> str:
    scale = _scale_of(ARM_PERFORMANCE, ARM_CELLS)
    return _fill(
        "cppc",
        device=rf"\_SB.C{cpu:03X}",
        registers=_list_registers(_cells_of(ARM_CELLS, cpu)),
        coordination="0xFD",  # by software, any CPU: cppc_cpufreq refuses 0xFC
        **scale,
        **_domain(cpu, shared),
    )


def _describe_idle_states(cpu: int, _shared: int) -> str:
    states = ",\n".join(
        "            Package () { ResourceTemplate () "
        f"{{ Register (FFixedHW, 1, 2, 0, 1) }}, 1, {latency_us}, {power_mw} }}"
        for latency_us, power_mw in IDLE_STATES
    )
    return _fill("cst", device=_x86_name(cpu), count=len(IDLE_STATES), states=states)


PSTATES = Table("PSTATES", _describe_pstates)
AMD_CPPC = Table("AMDCPPC", _describe_amd_cppc)
# Linux asks the platform for CPPC; everything is granted.
ARM_CPPC = Table(
    "ARMCPPC",
    _describe_arm_cppc,
    "    Scope (\\_SB) { Method (_OSC, 4) { Return (Arg3) } }\n",
)
IDLE = Table("IDLE", _describe_idle_states)

_CPPC_REGISTERS = (
    *("desired", "minimum", "maximum", "tolerance", "window", "wraparound"),
    *("reference", "delivered", "limited", "enable", "autonomous"),
    *("activity", "epp"),
)
"""In the order of _CPC."""
_OTHER_CELLS = {
    "reference": 0x10,
    "delivered": 0x18,
    "limited": 0x20,
    "enable": 0x24,
    "autonomous": 0x28,
}
REFERENCE, DELIVERED = _OTHER_CELLS["reference"], _OTHER_CELLS["delivered"]
"""Offsets of the feedback counters."""


def _cells_of(cells: CppcCells, cpu: int) -> dict[str, str]:
    offsets = {"desired": DESIRED, "minimum": MINIMUM, "maximum": MAXIMUM}
    addresses = {
        name: cells.address(cpu, offset)
        for name, offset in (offsets | _OTHER_CELLS).items()
    }
    addresses["epp"] = cells.epp_address(cpu)
    return {
        name: f"SystemMemory, 32, 0, {address:#x}, 3"
        for name, address in addresses.items()
    }


def _list_registers(registers: Mapping[str, str]) -> str:
    missing = "SystemMemory, 0, 0, 0, 0"
    return "\n".join(
        f"            ResourceTemplate () {{ Register ({registers.get(name, missing)}) "
        f"}},  // {name}"
        for name in _CPPC_REGISTERS
    )


def _scale_of(performance: Performance, cells: CppcCells) -> dict[str, int]:
    _, nominal_khz, _, lowest_khz = performance.khz(cells)
    mhz = {"nominal_mhz": nominal_khz // 1000, "lowest_mhz": lowest_khz // 1000}
    return performance._asdict() | mhz


def _x86_name(cpu: int) -> str:
    return rf"\_SB.CPUS.C{cpu:03X}"


def _domain(cpu: int, shared: int) -> dict[str, int]:
    return {"domain": cpu // shared, "count": shared}


def _fill(template: str, **values: object) -> str:
    text = Path(__file__).with_name(f"{template}.asl").read_text()
    return Template(text).substitute(values)


def _compile(source: Path, target: Path) -> None:
    prefix = target.with_suffix("")
    command = ["iasl", "-p", str(prefix), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise GuestError(
            "iasl not found: install acpica-tools (or run make setup)"
        ) from None
    if done.returncode != 0:
        raise GuestError(f"iasl refuses: {done.stdout}{done.stderr}")
