# SPDX-License-Identifier: Apache-2.0
"""The table of P-states, beside what ACPICA's compiler makes of the same source."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.acpi import aml
from orchestrator.acpi.p_state_table import build_p_state_table, mhz_of
from orchestrator.values.frequencies import FrequencyTable
from orchestrator.values.p_states import PStatePort, PStates

if TYPE_CHECKING:
    from pathlib import Path

TURBO = FrequencyTable((3_500_000, 2_300_000, 1_200_000), has_turbo=True)
PLAIN = FrequencyTable((255_000, 1_000), has_turbo=False)
LONG = FrequencyTable(tuple(range(70_000_000, 69_984_000, -1_000)), has_turbo=False)
HEADER_BYTES = 36
needs_iasl = pytest.mark.skipif(
    shutil.which("iasl") is None, reason="iasl (acpica-tools) is not installed"
)


def port(first: int, vcpus: int, io_base: int = 0x5C0, bits: int = 4) -> PStatePort:
    return PStatePort(
        io_base=io_base, irq=3, first_vcpu=first, vcpus=vcpus, step_bits=bits
    )


ONE = PStates(tables=(TURBO,), ports=(port(0, 1),))
MIXED = PStates(
    tables=(TURBO, None, PLAIN) + (LONG,) * 15,
    ports=(port(0, 16), port(16, 2, 0x5D0)),
)
WIDE = PStates(
    tables=(PLAIN,) * 64, ports=(port(0, 32, bits=3), port(32, 32, 0x5D0, 3))
)


def source_of(p_states: PStates, serials: tuple[int, ...], latency_us: int) -> str:
    """Write the table in ASL, from the values alone."""
    lines = ['DefinitionBlock ("", "SSDT", 2, "VMPOWR", "PSTATES", 1) {']
    for serial in serials:
        for bridge in ("ISA", "S08", "SF8"):
            path = rf"\_SB.PCI0.{bridge}.COM{serial + 1}._STA"
            lines.append(f"External ({path}, IntObj)")
            lines.append(f"If (CondRefOf ({path})) {{ Store (0, {path}) }}")
    for each in p_states.ports:
        register = (
            f"ResourceTemplate () {{ Register (SystemIO, 8, 0, {each.io_base:#x}) }}"
        )
        for number in range(each.vcpus):
            vcpu = each.first_vcpu + number
            table = p_states.tables[vcpu]
            if table is None:
                continue
            states = ",\n".join(
                f"Package () {{ {mhz}, {mhz}, {latency_us}, {latency_us}, {it}, {it} }}"
                for step, mhz in enumerate(mhz_of(table))
                for it in [number << each.step_bits | step]
            )
            path = rf"\_SB.CPUS.C{vcpu:03X}"
            lines += [
                f"External ({path}, DeviceObj)",
                f"Scope ({path}) {{",
                f"Name (_PCT, Package () {{ {register}, {register} }})",
                f"Name (_PSS, Package () {{ {states} }})",
                "Name (_PPC, 0)",
                f"Name (_PSD, Package () {{ Package () {{ 5, 0, {vcpu}, 0xFC, 1 }} }})",
                "}",
            ]
    return "\n".join([*lines, "}"])


def compile_source(source: str, directory: Path) -> bytes:
    path = directory / "table.asl"
    path.write_text(source)
    command = ["iasl", "-p", str(directory / "table"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (directory / "table.aml").read_bytes()


def without_declarations(body: bytes) -> bytes:
    """Remove what the compiler puts first: `If (0)` with what is external.

    It is for disassemblers, and no interpreter runs it.
    """
    assert body[0] == 0xA0
    further = body[1] >> 6
    length = body[1] & (0xF if further else 0x3F)
    length |= int.from_bytes(body[2 : 2 + further], "little") << 4
    assert body[2 + further] == 0
    return body[1 + length :]


@needs_iasl
@pytest.mark.parametrize(
    ("p_states", "serials"), [(ONE, (1,)), (MIXED, (1, 3)), (WIDE, (2, 3))]
)
def test_the_table_is_what_the_compiler_makes(
    p_states: PStates, serials: tuple[int, ...], tmp_path: Path
) -> None:
    ours = build_p_state_table(p_states, serials, 10_000)
    theirs = compile_source(source_of(p_states, serials, 10_000), tmp_path)
    assert ours[HEADER_BYTES:] == without_declarations(theirs[HEADER_BYTES:])
    # Beside length and checksum, only the name and version of the compiler differ.
    assert ours[:4] + ours[8:9] + ours[10:28] == (
        theirs[:4] + theirs[8:9] + theirs[10:28]
    )
    assert int.from_bytes(ours[4:8], "little") == len(ours)
    assert sum(ours) % 256 == 0


def test_turbo_is_marked_as_firmware_marks_it() -> None:
    assert mhz_of(TURBO) == (2301, 2300, 1200)
    assert mhz_of(PLAIN) == (255, 1)


def test_a_vcpu_without_a_table_has_no_objects() -> None:
    table = build_p_state_table(MIXED, (), 10_000)
    assert [f"C{vcpu:03X}".encode() in table for vcpu in range(4)] == [
        True,
        False,
        True,
        True,
    ]


@given(size=st.integers(0, 1 << 20))
def test_a_length_counts_its_own_bytes(size: int) -> None:
    encoded = aml.scope("\\", bytes(size))
    first, *rest = encoded[1:5]
    further = first >> 6
    low = first & 0x3F if further == 0 else first & 0xF
    length = low | sum(byte << 4 + 8 * at for at, byte in enumerate(rest[:further]))
    assert length == len(encoded) - 1


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (2, "0a02"),
        (255, "0aff"),
        (256, "0b0001"),
        (65_535, "0bffff"),
        (65_536, "0c00000100"),
    ],
)
def test_integers_are_short(value: int, encoded: str) -> None:
    assert aml.integer(value).hex() == encoded


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        ("_PSS", b"_PSS"),
        ("\\_SB.CPUS", b"\\\x2e_SB_CPUS"),
        ("\\_SB.CPUS.C00A", b"\\\x2f\x03_SB_CPUSC00A"),
    ],
)
def test_names(path: str, encoded: bytes) -> None:
    assert aml.name_string(path) == encoded
