# SPDX-License-Identifier: Apache-2.0
"""Builds the initramfs of each kind of guest.

All share one init (``init.sh``), which loads modules, names the virtio-serial ports
and then runs ``/work.sh``, the part that differs. When it exits, the guest powers off.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from examples.guests.cache import GuestError
from examples.guests.initramfs import Initramfs, libraries_of
from examples.guests.kernel import fetch_kernel
from examples.guests.programs import talker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from examples.guests.kernel import Kernel

CMDLINE = "console=ttyS0 panic=-1 quiet cryptomgr.notests no_timer_check"
"""Kernel command line of every guest (without cipher self-tests: a fifth of a boot; and
without the check of the timer, which fails on a busy host).

Parameters appended to it, such as ``talker=open:0``, are variables in ``/work.sh``.
"""

VIRTIO_MODULES = (
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio",
    "virtio_pci",
    "virtio_console",
)
"""In order of loading: each module after those it depends on. Some kernels have them
built in (`Kernel.is_built_in`)."""

GOVERNOR_MODULES = (
    "cpufreq_userspace",
    "cpufreq_powersave",
    "cpufreq_ondemand",
    "cpufreq_conservative",
)
"""Governors that Debian's kernels do not have built in."""
CPUFREQ_MODULES = (*GOVERNOR_MODULES, "acpi-cpufreq")
"""The driver for P-states comes last, because it needs a governor when it is loaded."""

_HERE = Path(__file__).parent
STDLIB_SKIPS = (
    "*.opt-?.pyc",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "pydoc_data",
    "config-*",
    "dist-packages",
    "site-packages",
)
_PYTHON = Path("/usr/bin/python3")
_POWER_DRIVERS = ("librte_power_kvm_vm", "librte_power_acpi")


def start_image(
    work: str,
    *,
    modules: Sequence[str] = VIRTIO_MODULES,
    kernel: Kernel | None = None,
    busybox: Path | None = None,
) -> Initramfs:
    """Start an initramfs that runs the shell script ``work`` after booting.

    Args:
        work: the script.
        modules: in order of loading: names, each with its parameters after a blank. The
            image holds and loads those that the kernel does not have built in.
        kernel: None: that of :func:`fetch_kernel`.
        busybox: a static one of the guest's architecture; None: this machine's.
    """
    image = Initramfs()
    image.add_file(busybox or _find_busybox(), "bin/busybox")
    for applet in _APPLETS:
        image.add_link(f"bin/{applet}", "busybox")
    kernel = kernel or fetch_kernel()
    order = ""
    for module in modules:
        name = module.split()[0]
        if not kernel.is_built_in(name):
            image.add_data(f"modules/{name}.ko", kernel.read_module(name))
            order += f"{module}\n"
    image.add_data("modules/order", order)
    image.add_data("init", (_HERE / "init.sh").read_bytes(), mode=0o755)
    names = (_HERE / "name-ports.sh").read_bytes()
    image.add_data("bin/name-ports", names, mode=0o755)
    image.add_data("work.sh", work)
    for directory in ("proc", "sys", "dev", "tmp", "run", "root", "var"):
        image.add_directory(directory)
    image.add_link("var/run", "../run")
    return image


_APPLETS = (
    *("sh", "mount", "mkdir", "cat", "insmod", "uevent", "usleep", "ln", "rm"),
    *("poweroff", "reboot", "echo", "ls", "sleep", "head", "tail", "grep", "dmesg"),
    *("ps", "kill", "id", "chmod", "chown", "mknod", "date", "env", "timeout", "ip"),
)


def _find_busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        raise GuestError(
            "busybox not found: install busybox-static (or run make setup)"
        )
    return Path(found)


def build_shell_image(work: str) -> Path:
    """Return the initramfs of a guest that runs a shell script, then powers off."""
    return start_image(work).build("shell")


def build_talker_image() -> Path:
    """Return the initramfs of the scripted guest (``talker.c``).

    The kernel parameter ``talker=`` holds its first statements.
    """
    image = start_image('exec talker "$talker"\n')
    image.add_program(talker(), "bin/talker")
    return image.build("talker")


def build_program_image(
    program: Path, *, arguments: str = "", channels: Sequence[int] = (0,)
) -> Path:
    """Return the initramfs of a guest that runs one program of this machine.

    Args:
        program: copied together with its shared libraries.
        arguments: its arguments, as shell text; kernel parameters are variables there.
        channels: the program starts when the guest has the ports of these channels.
    """
    waits = "".join(f"await_channel {number}\n" for number in channels)
    image = start_image(f"{waits}{program} {arguments}\n")
    add_dpdk_program(image, program)
    return image.build(program.stem)


def build_dpdk_image() -> Path:
    """Return the initramfs of a guest that runs DPDK's power_kvm_vm_autotest.

    It needs a CPU model with SSE 4.2 (``<cpu mode='maximum'/>``), 2 vCPUs and
    512 MiB. ``RTE>>`` and ``Test OK`` or ``Test Skipped`` appear on the console.

    Raises:
        GuestError: DPDK is not installed.
    """
    program = shutil.which("dpdk-test")
    if program is None:
        raise GuestError("dpdk-test not found: install dpdk-dev (or run make setup)")
    options = "--no-huge -m 64 --no-pci -l 0 --no-shconf --log-level=power:8"
    image = start_image(
        "await_channel 0\n"
        f"printf 'power_kvm_vm_autotest\\nquit\\n' | {program} {options}\n"
    )
    add_dpdk_program(image, Path(program))
    return image.build("dpdk-test")


def add_dpdk_program(
    image: Initramfs, program: Path, *, plugins: Sequence[str] = ()
) -> None:
    """Add a program with DPDK's plugins, such as ``librte_net_tap``, and power drivers.

    Since DPDK 24.11 power drivers are plugins: EAL opens them in the directory of
    plugins, whose absolute path is compiled in. A program that is linked with one must
    not open this second copy: the two would not share what they know.
    """
    image.add_program(program)
    libraries = {path.name.split(".so")[0]: path for path in libraries_of([program])}
    drivers = _POWER_DRIVERS if "librte_power" in libraries else ()
    for name in (*plugins, *drivers):
        if name not in libraries:
            # Without the link /lib -> usr/lib, which guests do not have.
            directory = libraries["librte_eal"].resolve().parent
            for plugin in directory.glob(f"dpdk/pmds-*/{name}.so"):
                image.add_program(plugin)


def build_python_image(
    files: Mapping[str, Path | str],
    command: str,
    *,
    modules: Sequence[str] = VIRTIO_MODULES,
) -> Path:
    """Return the initramfs of a guest with Debian's Python and standard library.

    Args:
        files: additional files by absolute path in the guest: text, or a file or
            directory of this machine to copy.
        command: the shell command to run, such as ``python3 -I /program.py``.
        modules: kernel modules, in order of loading.
    """
    image = start_image(command + "\n", modules=modules)
    add_python(image)
    for path, content in files.items():
        add_content(image, path, content)
    return image.build("python")


def add_content(image: Initramfs, path: str, content: Path | str) -> None:
    """Add text, a file, or a directory's Python files under ``path``."""
    if isinstance(content, str):
        image.add_data(path, content)
    elif content.is_dir():
        for found in sorted(content.rglob("*")):
            if found.is_file() and found.suffix != ".pyc":
                image.add_file(found, f"{path}/{found.relative_to(content)}")
    else:
        image.add_file(content, path)


def add_python(image: Initramfs) -> None:
    """Add this machine's Python (``/usr/bin/python3``) and standard library.

    Raises:
        GuestError: its version is not that of the running interpreter: compiled modules
            of the virtual environment would not load in the guest.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(f"/usr/lib/python{version}")
    program = _PYTHON.resolve() if _PYTHON.exists() else _PYTHON
    if program.name != f"python{version}" or not library.is_dir():
        raise GuestError(
            f"a Python guest needs Debian's python{version} at {_PYTHON}, "
            f"found {program}"
        )
    image.add_program(program)
    image.add_link("usr/bin/python3", program.name)
    image.add_tree(library, skip=STDLIB_SKIPS)
    image.add_libraries((library / "lib-dynload").glob("*.so"))
    image.add_data("etc/passwd", PASSWD)


PASSWD = """\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
"""
PYTHON_ABI = sysconfig.get_config_var("SOABI")
