# SPDX-License-Identifier: Apache-2.0
"""An ACPI table that gives QEMU's CPUs performance states.

Linux's own acpi-cpufreq driver then runs in the guest, with real governors and real
refusals. Required beside the table: an Intel CPU model (the default one is refused) and
``-device pc-testdev``, whose port 0xE0 is a latch of four bytes, hence at most four
CPUs.

Source: ACPI specification 6.3, section 8.4.5 (_PCT, _PSS, _PPC, _PSD).
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from examples.guests.cache import GuestError, cached, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CPUS = 4
STEPS_KHZ = (3_001_000, 3_000_000, 2_000_000, 1_200_000)
"""The first is 1 MHz above the second: firmware marks turbo like this."""

_LATCH_PORT = 0xE0
_TEMPLATE = Path(__file__).with_name("pss.asl")


def build_table(
    *, cpus: int = MAX_CPUS, shared: int = 1, steps_khz: Sequence[int] = STEPS_KHZ
) -> Path:
    """Return the compiled table.

    Args:
        cpus: number of CPUs of the machine, four at most.
        shared: number of neighboring CPUs that share one frequency.
        steps_khz: whole MHz, descending.

    Raises:
        GuestError: iasl is not installed or refuses the table.
    """
    source = _source(cpus, shared, steps_khz)

    def make(target: Path) -> None:
        text = target.with_name("pss.asl")
        text.write_text(source)
        _compile(text, target)

    return cached(f"pss-{digest([source])}.aml", make)


def _source(cpus: int, shared: int, steps_khz: Sequence[int]) -> str:
    template = Template(_TEMPLATE.read_text())
    states = ",\n".join(
        f"            Package () {{ {khz // 1000}, {khz // 1000}, 10, 10, {n}, {n} }}"
        for n, khz in enumerate(steps_khz, start=1)
    )
    scopes = [
        template.substitute(
            device=f"C{cpu:03X}",
            port=hex(_LATCH_PORT + cpu),
            states=states,
            domain=cpu // shared,
            count=shared,
        )
        for cpu in range(cpus)
    ]
    head = 'DefinitionBlock ("", "SSDT", 2, "VMPOWR", "PSTATES", 1)\n{\n'
    return head + "".join(scopes) + "}\n"


def _compile(source: Path, target: Path) -> None:
    prefix = target.with_suffix("")
    command = ["iasl", "-p", str(prefix), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise GuestError(
            "no iasl here: install acpica-tools (make setup does)"
        ) from None
    if done.returncode != 0:
        raise GuestError(f"iasl refuses: {done.stdout}{done.stderr}")
