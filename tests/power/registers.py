# SPDX-License-Identifier: Apache-2.0
"""The registers in which a lab's scaling driver sets the hardware; for use in a lab.

Usage::

    requested = requested_khz(2)
    assert requested.max_khz == 1_800_000

It reads the hardware's side, and so shows whether a write to sysfs had an effect. The
lab sets the variable ``VMPOWER_REGISTERS`` to the kind of its registers.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "VMPOWER_REGISTERS"
LATCH_PORT = 0xE0
"""Of CPU 0; one port of a byte for each CPU."""
LATCH_CPUS = 4
MSR_RATIO_KHZ = 100_000
"""A unit of Intel's registers."""

_CPUS = Path("/sys/devices/system/cpu")
_IMITATED_MSR = Path("/sys/kernel/debug/imitated_msr")


class Requested(NamedTuple):
    """What a CPU's registers request of the hardware."""

    min_khz: int
    max_khz: int
    desired_khz: int
    """0: the hardware chooses. Registers that hold one P-state have three equal
    values."""
    epp: int | None = None
    """The energy performance preference, 0 (performance) to 255; None: no register."""


class CppcCells(NamedTuple):
    """CPPC registers of a lab: cells of memory, which return what was written."""

    base: int
    """Physical address of CPU 0's cells."""
    unit_khz: int
    """One unit of performance."""
    epp_base: int
    """Physical address of CPU 0's energy performance preference."""
    epp_stride: int

    def address(self, cpu: int, offset: int) -> int:
        """Return the physical address of one of a CPU's cells."""
        return self.base + _CPU_STRIDE * cpu + offset

    def epp_address(self, cpu: int) -> int:
        """Return the physical address of a CPU's energy performance preference."""
        return self.epp_base + self.epp_stride * cpu


_CPU_STRIDE = 0x100
DESIRED, MINIMUM, MAXIMUM = 0x0, 0x4, 0x8
"""Offsets of a CPU's cells, 32 bits each."""

PCC_BASE = 0xFF00_8000
"""The shared memory of the PCC channel: 8 bytes of header, then cells for each CPU:
autonomous selection and energy performance preference."""
AMD_CELLS = CppcCells(
    base=0xFF00_0000, unit_khz=15_000, epp_base=PCC_BASE + 8 + 4, epp_stride=8
)
"""In the 64 KiB of memory that ``-device pc-testdev`` has at 0xFF000000."""
ARM_CELLS = CppcCells(
    base=0x7000_0000,
    unit_khz=10_000,
    epp_base=0x7000_0000 + 0x2C,
    epp_stride=_CPU_STRIDE,
)
"""In RAM that the parameter ``mem=`` hides from Linux."""


def requested_khz(cpu: int) -> Requested:
    """Return what the scaling driver has set in a CPU's registers."""
    return _READERS[os.environ[VARIABLE]](cpu)


def _read_latch(cpu: int) -> Requested:
    path = _CPUS / f"cpu{cpu}/cpufreq/scaling_available_frequencies"
    # The values of the register are the positions in the table, from 1.
    steps_khz = [0, *sorted(map(int, path.read_text().split()), reverse=True)]
    khz = steps_khz[_read_port(LATCH_PORT + cpu)]
    return Requested(khz, khz, khz)


def _read_port(port: int) -> int:
    """Return the byte of an I/O port; this kernel has no /dev/port."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.iopl(3) != 0:
        raise OSError(ctypes.get_errno(), "iopl")
    # mov %edi,%edx; in (%dx),%al; movzbl %al,%eax; ret
    code = bytes.fromhex("89 fa ec 0f b6 c0 c3")
    protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=protection)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    byte: int = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)(port)
    return byte


def uncore_limits_khz() -> tuple[int, int]:
    """Return the lowest and the highest uncore frequency that the register allows."""
    ratios = _imitated_registers(0)["UNCORE_RATIO_LIMIT"]
    return (ratios >> 8 & 0x7F) * MSR_RATIO_KHZ, (ratios & 0x7F) * MSR_RATIO_KHZ


def _imitated_registers(cpu: int) -> dict[str, int]:
    text = (_IMITATED_MSR / f"cpu{cpu}").read_text()
    return {name: int(value, 0) for name, value in map(str.split, text.splitlines())}


def _read_msr(cpu: int) -> Requested:
    registers = _imitated_registers(cpu)
    if registers["PM_ENABLE"] & 1:
        request = registers["HWP_REQUEST"].to_bytes(8, "little")
        low, high, desired, epp = request[:4]
        ratios = (low, high, desired)
    else:
        ratio = registers["PERF_CTL"] >> 8 & 0xFF
        epp, ratios = None, (ratio, ratio, ratio)
    low_khz, high_khz, desired_khz = (ratio * MSR_RATIO_KHZ for ratio in ratios)
    return Requested(low_khz, high_khz, desired_khz, epp)


def _read_amd(cpu: int) -> Requested:
    return _read_cells(AMD_CELLS, cpu)


def _read_arm(cpu: int) -> Requested:
    return _read_cells(ARM_CELLS, cpu)


def _read_cells(cells: CppcCells, cpu: int) -> Requested:
    low, high, desired = (
        _read_memory(cells.address(cpu, offset)) * cells.unit_khz
        for offset in (MINIMUM, MAXIMUM, DESIRED)
    )
    return Requested(low, high, desired, _read_memory(cells.epp_address(cpu)))


def _read_memory(address: int) -> int:
    """Return 32 bits of physical memory."""
    start = address & -mmap.PAGESIZE
    fd = os.open("/dev/mem", os.O_RDONLY | os.O_SYNC)
    try:
        page = mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ, offset=start)
    finally:
        os.close(fd)
    with page, memoryview(page) as octets, octets.cast("I") as cells:
        return cells[(address - start) // 4]


_READERS: dict[str, Callable[[int], Requested]] = {
    "latch": _read_latch,
    "msr": _read_msr,
    "cppc-amd": _read_amd,
    "cppc-arm": _read_arm,
}
"""By the kind of registers."""
