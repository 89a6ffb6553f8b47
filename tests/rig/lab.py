# SPDX-License-Identifier: Apache-2.0
"""Boots a lab: an emulated host of four CPUs with one of Linux's own scaling drivers.

Usage::

    outcome = run_in_lab('''
        from pathlib import Path
        cpu = Path("/sys/devices/system/cpu/cpu0/cpufreq")
        (cpu / "scaling_governor").write_text("userspace")
        print((cpu / "scaling_available_frequencies").read_text())
    ''')
    assert outcome.status == 0, outcome.output
    assert "3001000 3000000 2000000 1200000" in outcome.output

``lab`` selects the driver (`tests.rig.labs`): by default acpi-cpufreq. The program runs
as root under Debian's Python, with this checkout's ``orchestrator``, ``cli`` and
``tests`` packages (without the rig); ``packages`` adds more, from the virtual
environment. It takes five seconds on two idle cores, and one per import of something
big. All four governors that the kernel has as modules are loaded; schedutil is the
default.
`tests.power.registers` reads there what the driver requests of the hardware.

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
from examples.guests.images import CMDLINE, add_content, add_python, start_image
from tests.power.registers import PCC_BASE, VARIABLE
from tests.rig.acpi import MAX_CPUS, build_pcc_channel, build_table
from tests.rig.arm import (
    arm_machine,
    fetch_emulator,
    fetch_user_land,
    start_arm_image,
)
from tests.rig.console import Console
from tests.rig.labs import ACPI_CPUFREQ
from tests.rig.waiting import LAB_DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from examples.guests.initramfs import Initramfs
    from examples.guests.kernel import Kernel
    from tests.rig.labs import Lab

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
    lab: Lab = ACPI_CPUFREQ,
    shared: int = 1,
    packages: Sequence[str] = (),
    files: Mapping[str, Path | str] | None = None,
    timeout_s: float = LAB_DEADLINE_S,
) -> LabOutcome:
    """Boot a lab, run the Python text ``program`` in it, and power it off.

    Args:
        program: indented as a whole or not.
        lab: which one.
        shared: number of neighboring CPUs that share one frequency (1, 2 or 4).
        packages: distributions of the virtual environment that it imports.
        files: more files, by absolute path in the lab.
        timeout_s: after that the lab is switched off.
    """
    content = {"/program.py": textwrap.dedent(program), **(files or {})}
    image = _build(lab, content, "exec_python /program.py", packages, shared)
    return run_lab_machine(lab, image, shared=shared, timeout_s=timeout_s)


def run_module_in_lab(
    module: str,
    *arguments: str,
    lab: Lab = ACPI_CPUFREQ,
    shared: int = 1,
    timeout_s: float = LAB_DEADLINE_S,
) -> LabOutcome:
    """Run ``python3 -m module arguments…`` of this checkout in a lab.

    The shell splits the arguments into words.
    """
    command = f"exec_python -m {module} {' '.join(arguments)}"
    image = _build(lab, {}, command, (), shared)
    return run_lab_machine(lab, image, shared=shared, timeout_s=timeout_s)


def _build(
    lab: Lab,
    files: Mapping[str, Path | str],
    command: str,
    packages: Sequence[str],
    shared: int,
) -> Initramfs:
    everything: dict[str, Path | str] = {
        f"/checkout/{name}": CHECKOUT / name for name in ("orchestrator", "cli")
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
    image = start_lab_image(lab, work, shared=shared)
    for name, content in everything.items():
        add_content(image, name, content)
    return image


def prepare_lab(lab: Lab) -> None:
    """Download and build all that a lab needs, unless it is cached.

    Raises:
        UnavailableError: something cannot be downloaded.
        GuestError: something cannot be built.
    """
    lab.fetch_kernel()
    if lab.is_arm:
        fetch_user_land()
        fetch_emulator()


def start_lab_image(
    lab: Lab, work: str, *, shared: int = 1, more_modules: Sequence[str] = ()
) -> Initramfs:
    """Start the initramfs of a lab, with Python, that runs the shell script ``work``.

    ``more_modules`` are loaded first.
    """
    prepare = (
        f"export {VARIABLE}={lab.registers}\n"
        "mount -t debugfs debugfs /sys/kernel/debug\n"
    )
    modules = (*more_modules, *lab.modules)
    kernel = lab.fetch_kernel()
    start = start_arm_image if lab.is_arm else _start_pc_image
    image = start(f"{prepare}{work}\n", modules=modules, kernel=kernel)
    if lab.is_arm:
        # QEMU passes no tables to Arm's firmware; Linux takes them from here.
        for table in lab.tables:
            path = build_table(table, shared=shared)
            image.add_file(path, f"kernel/firmware/acpi/{path.name}")
    return image


def _start_pc_image(work: str, *, modules: Sequence[str], kernel: Kernel) -> Initramfs:
    image = start_image(work, modules=modules, kernel=kernel)
    add_python(image)
    return image


def run_lab_machine(
    lab: Lab,
    image: Initramfs,
    *,
    shared: int = 1,
    timeout_s: float = LAB_DEADLINE_S,
) -> LabOutcome:
    """Boot the machine of a lab from ``image`` until it powers off."""
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp") as directory:
        initrd, console = Path(directory) / "initrd", Path(directory) / "console"
        # Not cached: hardly two runs have the same.
        image.write(initrd)
        command = [
            *(arm_machine(lab.cpu) if lab.is_arm else _pc_machine(lab, shared)),
            *("-nodefaults", "-display", "none", "-no-reboot"),
            *("-m", str(lab.memory_mib), "-smp", str(MAX_CPUS)),
            *("-kernel", str(lab.fetch_kernel().image), "-initrd", str(initrd)),
            *("-append", f"{CMDLINE} {lab.parameters}", "-serial", f"file:{console}"),
        ]
        output = _run_qemu(command, timeout_s)
        text = Console(console).text
    ended = _ENDED.search(text)
    if ended is None:
        text += output
    return LabOutcome(status=int(ended[1]) if ended else None, output=text)


def _pc_machine(lab: Lab, shared: int) -> list[str]:
    # One thread for all CPUs: with several, QEMU before 8.1 may run code that another
    # CPU has patched meanwhile, and Linux patches its own all the time (int3, crash).
    command = ["qemu-system-x86_64", "-machine", "pc", "-accel", "tcg,thread=single"]
    command += ["-cpu", lab.cpu]
    command += ["-device", "pc-testdev"]
    for table in lab.tables:
        path = build_table(table, shared=shared)
        command += ["-acpitable", f"file={path}"]
    if lab.has_pcc_channel:
        # "PCC" and the channel's number, which newer kernels check.
        signature = f"loader,addr={PCC_BASE:#x},data=0x50434300,data-len=4"
        command += ["-acpitable", f"file={build_pcc_channel()}", "-device", signature]
    return command


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
    # Not only errors: it also names the features of the CPU model that TCG lacks.
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
