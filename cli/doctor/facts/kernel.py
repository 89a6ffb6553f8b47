"""The kernel: how it was started, and on what.

Source: proc(5); Documentation/admin-guide/kernel-parameters.rst of the kernel.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.doctor.places import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.doctor.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What holds until the next boot."""

    release: str
    parameters: Mapping[str, str]
    """Of its command line, the last one of a name; empty for those without `=`."""
    cpu_flags: frozenset[str]
    """Of the first CPU."""
    has_userspace_module: bool | None
    """Whether the governor can be loaded; None: its modules are not here."""
    is_sysfs_read_only: bool

    @property
    def is_virtual(self) -> bool:
        """Whether it runs in a virtual machine, whose clocks are its host's."""
        return "hypervisor" in self.cpu_flags


def read_kernel(places: Places) -> Kernel:
    """Read the kernel's own account of itself."""
    release = places.read("proc/sys/kernel/osrelease").strip()
    return Kernel(
        release=release,
        parameters=_parameters(places.read("proc/cmdline")),
        cpu_flags=_cpu_flags(places.read("proc/cpuinfo")),
        has_userspace_module=_has_module(places, release, "cpufreq_userspace"),
        is_sysfs_read_only=_is_read_only(places),
    )


def _parameters(command_line: str) -> dict[str, str]:
    found = {}
    for word in command_line.split():
        name, _, value = word.partition("=")
        found[name] = value
    return found


def _cpu_flags(cpuinfo: str) -> frozenset[str]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, ARM
            return frozenset(value.split())
    return frozenset()


def _has_module(places: Places, release: str, name: str) -> bool | None:
    directory = f"lib/modules/{release}"
    lists = [places.read(f"{directory}/modules.{kind}") for kind in ("builtin", "dep")]
    if not any(lists):
        return None
    return any(f"/{name}.ko" in text for text in lists)


def _is_read_only(places: Places) -> bool:
    for line in places.read("proc/mounts").splitlines():
        match line.split():
            case [_, where, "sysfs", options, *_] if where == str(places.cpu_root):
                return "ro" in options.split(",")
            case _:
                pass
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kvm:
    """/dev/kvm."""

    exists: bool
    mode: int = 0
    """Permission bits."""
    gid: int = 0


def read_kvm(places: Places) -> Kvm:
    """Style at the node."""
    try:
        about = places.path("dev/kvm").stat()
    except OSError:
        return Kvm(exists=False)
    return Kvm(exists=True, mode=stat.S_IMODE(about.st_mode), gid=about.st_gid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """The kernel's part of what confines QEMU."""

    is_selinux_enforcing: bool


def read_confinement(places: Places) -> Confinement:
    """Style at the kernel's security modules."""
    enforce = read_text(places.cpu_root / "fs/selinux/enforce").strip()
    return Confinement(is_selinux_enforcing=enforce == "1")
