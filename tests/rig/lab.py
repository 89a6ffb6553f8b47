# SPDX-License-Identifier: Apache-2.0
"""A host with real cpufreq: Linux's acpi-cpufreq driver in a guest of four CPUs.

Usage::

    outcome = run_in_lab('''
        from pathlib import Path
        cpu = Path("/sys/devices/system/cpu/cpu0/cpufreq")
        (cpu / "scaling_governor").write_text("userspace")
        print((cpu / "scaling_available_frequencies").read_text())
    ''')
    assert outcome.status == 0, outcome.output
    assert "3001000 3000000 2000000 1200000" in outcome.output

The program runs as root under Debian's Python, with this checkout's ``orchestrator``
and ``tests`` packages (without the rig); ``packages`` adds more, from the virtual
environment. It takes five seconds on two idle cores, and one per import of something
big. All four governors that the kernel has as modules are loaded; schedutil is the
default.

``run_module_in_lab("tests.power.contract", "/sys", shared=2)`` runs a module of the
checkout in the same way.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import textwrap
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

from examples.guests.cache import CHECKOUT
from examples.guests.images import CMDLINE, build_python_image
from examples.guests.kernel import fetch_kernel
from tests.rig.acpi import MAX_CPUS, build_table
from tests.rig.console import Console
from tests.rig.waiting import LAB_DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CPUFREQ_MODULES = (
    "cpufreq_userspace",
    "cpufreq_powersave",
    "cpufreq_ondemand",
    "cpufreq_conservative",
    "acpi-cpufreq",
)
QEMU_OPTIONS = (
    *("-machine", "pc,accel=tcg", "-cpu", "Haswell", "-nodefaults"),
    *("-display", "none", "-no-reboot", "-device", "pc-testdev"),
)

_ENDED = re.compile(r"^init: work ended with (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOutcome:
    """How a program in the lab ended."""

    status: int | None
    """Its exit status; None: the guest ended before it."""
    output: str
    """The whole console; the program's output is at the end."""


def run_in_lab(
    program: str,
    *,
    shared: int = 1,
    packages: Sequence[str] = (),
    files: Mapping[str, Path | str] | None = None,
    timeout_s: float = LAB_DEADLINE_S,
) -> LabOutcome:
    """Boot the lab, run the Python text ``program`` in it, and power it off.

    Args:
        program: indented as a whole or not.
        shared: number of neighboring CPUs that share one frequency (1, 2 or 4).
        packages: distributions of the virtual environment that it imports.
        files: more files, by absolute path in the lab.
        timeout_s: after that the lab is switched off.
    """
    content = {"/program.py": textwrap.dedent(program), **(files or {})}
    return _boot(content, "exec_python /program.py", packages, shared, timeout_s)


def run_module_in_lab(
    module: str, *arguments: str, shared: int = 1, timeout_s: float = LAB_DEADLINE_S
) -> LabOutcome:
    """Run ``python3 -m module arguments…`` of this checkout in the lab.

    The shell splits the arguments into words.
    """
    command = f"exec_python -m {module} {' '.join(arguments)}"
    return _boot({}, command, (), shared, timeout_s)


def _boot(
    files: Mapping[str, Path | str],
    command: str,
    packages: Sequence[str],
    shared: int,
    timeout_s: float,
) -> LabOutcome:
    everything: dict[str, Path | str] = {
        "/checkout/orchestrator": CHECKOUT / "orchestrator",
    }
    # Without the rig: the lab has no libvirt, and no machine to enter.
    for path in sorted((CHECKOUT / "tests").iterdir()):
        if path.name not in ("rig", "conftest.py", "__pycache__"):
            everything[f"/checkout/tests/{path.name}"] = path
    for package in packages:
        everything |= distribution_files(package, "/packages")
    everything |= files
    work = (
        "export PYTHONPATH=/checkout:/packages PYTHONDONTWRITEBYTECODE=1\n"
        'exec_python() { python3 -s "$@"; }\ncd /checkout\n' + command
    )
    image = build_python_image(everything, work, modules=CPUFREQ_MODULES)
    return run_lab_machine(image, build_table(shared=shared), timeout_s=timeout_s)


def run_lab_machine(
    image: Path,
    table: Path,
    *,
    memory_mib: int = 768,
    timeout_s: float = LAB_DEADLINE_S,
) -> LabOutcome:
    """Boot a machine with the table's P-states from ``image`` until it powers off."""
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp") as directory:
        console = Path(directory) / "console"
        command = [
            "qemu-system-x86_64",
            *QEMU_OPTIONS,
            *("-m", str(memory_mib), "-smp", str(MAX_CPUS)),
            *("-kernel", str(fetch_kernel().image), "-initrd", str(image)),
            *("-append", CMDLINE, "-acpitable", f"file={table}"),
            *("-serial", f"file:{console}"),
        ]
        output = _run_qemu(command, timeout_s)
        text = Console(console).text
    ended = _ENDED.search(text)
    if ended is None:
        text += output
    return LabOutcome(status=int(ended[1]) if ended else None, output=text)


def _run_qemu(command: Sequence[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"\nswitched off after {timeout_s} s\n"
    # Not only errors: it also names the features of Haswell that TCG lacks.
    return done.stderr


def distribution_files(name: str, target: str) -> dict[str, Path | str]:
    """Return an installed distribution's files, by their paths under ``target``.

    Compiled modules are among them: an emulated machine takes longer to compile them
    than to run them. They are valid there, because files keep their times.
    """
    found: dict[str, Path | str] = {}
    for file in distribution(name).files or ():
        path = Path(str(file.locate()))
        if ".." not in file.parts and path.is_file():
            found[f"{target}/{file}"] = path
    return found
