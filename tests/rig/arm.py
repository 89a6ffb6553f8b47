# SPDX-License-Identifier: Apache-2.0
"""An emulated Arm server with ACPI: kernel, Python, QEMU and its firmware.

All come from Debian's packages of the release that this machine runs, unpacked and not
installed: another QEMU would change what libvirt finds on this machine.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from examples.guests.cache import cached
from examples.guests.images import PASSWD, STDLIB_SKIPS, start_image
from examples.guests.kernel import kernel_in
from examples.guests.packages import Archive, find_codename, run
from tests.power.registers import ARM_CELLS
from tests.rig.acpi import DELIVERED, MAX_CPUS, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from examples.guests.initramfs import Initramfs
    from examples.guests.kernel import Kernel

RAM_MIB = 1024
PARAMETERS = "console=ttyAMA0 acpi=force mem=768M nokaslr"
"""They hide the RAM from which `ARM_CELLS` are taken. The kernel's place is not random:
the initrd goes where the kernel leaves room, sometimes over these."""

_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PYTHON_PACKAGES = (
    *("busybox-static", f"{_PYTHON}-minimal", f"lib{_PYTHON}-minimal"),
    *(f"lib{_PYTHON}-stdlib", "libc6", "zlib1g", "libexpat1", "libffi8"),
)
_LIBRARIES = ("libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1", "libffi.so.8")
_LOADER = "ld-linux-aarch64.so.1"


def fetch_arm_kernel() -> Kernel:
    """Return this release's kernel for Arm servers (60 MB, of which little is kept).

    It is not the cloud kernel, which has no cpufreq on Arm.

    Raises:
        UnavailableError: it is not cached and cannot be downloaded.
    """
    return kernel_in(cached("kernel-arm64", _unpack_kernel))


def fetch_user_land() -> Path:
    """Return a directory with Arm's busybox, Python and libraries (12 MB).

    Raises:
        UnavailableError: it is not cached and cannot be downloaded.
    """
    return cached("python-arm64", _unpack_user_land)


def fetch_emulator() -> Path:
    """Return a directory with QEMU for Arm and its firmware (15 MB).

    Raises:
        UnavailableError: it is not cached and cannot be downloaded.
    """
    return cached("qemu-arm64", _unpack_emulator)


def start_arm_image(work: str, *, modules: Sequence[str], kernel: Kernel) -> Initramfs:
    """Start an initramfs with Python that runs the shell script ``work``."""
    root = fetch_user_land()
    busybox = next(root.rglob("bin/busybox"))
    # The firmware leaves the console in the middle of a line.
    work = f"echo\n{work}"
    image = start_image(work, modules=modules, kernel=kernel, busybox=busybox)
    image.add_file(root / f"usr/bin/{_PYTHON}", f"usr/bin/{_PYTHON}")
    image.add_link("usr/bin/python3", _PYTHON)
    library = f"usr/lib/{_PYTHON}"
    image.add_tree(root / library, path=library, skip=STDLIB_SKIPS)
    for name in (*_LIBRARIES, _LOADER):
        # In /lib or /usr/lib, by release.
        image.add_file(next(root.rglob(f"lib/aarch64-linux-gnu/{name}")), f"lib/{name}")
    image.add_data("etc/passwd", PASSWD)
    return image


def arm_machine(cpu: str) -> list[str]:
    """Return the start of QEMU's command line, for this CPU model."""
    emulator = fetch_emulator()
    command = [
        str(emulator / "usr/bin/qemu-system-aarch64"),
        *("-machine", "virt,accel=tcg", "-cpu", cpu),
        *("-bios", str(emulator / "usr/share/qemu-efi-aarch64/QEMU_EFI.fd")),
        # The firmware hands a seed to Linux, and Python need not wait for one.
        *("-device", "virtio-rng-pci"),
    ]
    # Feedback counters that read 0 are errors.
    for number in range(MAX_CPUS):
        for offset in (REFERENCE, DELIVERED):
            cell = f"loader,addr={ARM_CELLS.address(number, offset):#x}"
            command += ["-device", f"{cell},data=0x1000000,data-len=4"]
    return command


def _arm_archive() -> Archive:
    return Archive(find_codename(), "arm64")


def _unpack_kernel(target: Path) -> None:
    archive = _arm_archive()
    package = archive.find_dependency("linux-image-arm64", "linux-image-")
    kept = ("*/vmlinuz-*", "*/modules.builtin", "*/kernel/drivers/cpufreq/*")
    archive.unpack([package], target, members=kept)


def _unpack_user_land(target: Path) -> None:
    _arm_archive().unpack(_PYTHON_PACKAGES, target)
    # Installing the package would compile the library; emulated, each start would.
    library = target / f"usr/lib/{_PYTHON}"
    run([sys.executable, "-m", "compileall", "-q", str(library)])


def _unpack_emulator(target: Path) -> None:
    archive = Archive()
    archive.unpack(["qemu-system-arm"], target, members=["*/qemu-system-aarch64"])
    archive.unpack(["qemu-efi-aarch64"], target, members=["*/QEMU_EFI.fd"])
