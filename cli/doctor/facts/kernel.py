# SPDX-License-Identifier: Apache-2.0
"""The kernel: its command line, modules, CPU flags, /dev/kvm and security.

Source: proc(5); Documentation/admin-guide/kernel-parameters.rst of the kernel.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.doctor.target import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.doctor.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Properties that do not change until the next boot."""

    release: str
    parameters: Mapping[str, str]
    """From the command line; the last of a name counts; empty without `=`."""
    arguments: frozenset[str]
    """All words of the command line: `intel_pstate` may be given several times."""
    cpu_flags: frozenset[str]
    """Of the first CPU."""
    has_userspace_module: bool | None
    """Whether the governor can be loaded; None: there is no list of modules."""
    is_sysfs_read_only: bool

    @property
    def is_arm(self) -> bool:
        """Whether these are 64-bit Arm CPUs."""
        return "asimd" in self.cpu_flags

    @property
    def is_amd(self) -> bool:
        """Whether these are AMD's CPUs with P-states or CPPC."""
        return bool({"hw_pstate", "cppc"} & self.cpu_flags)

    @property
    def is_virtual(self) -> bool:
        """Whether this is a virtual machine, whose host sets the frequencies."""
        return "hypervisor" in self.cpu_flags


def read_kernel(target: Target) -> Kernel:
    """Read the properties of the running kernel."""
    release = target.read("proc/sys/kernel/osrelease").strip()
    command_line = target.read("proc/cmdline")
    return Kernel(
        release=release,
        parameters=_parameters(command_line),
        arguments=frozenset(command_line.split()),
        cpu_flags=_cpu_flags(target.read("proc/cpuinfo")),
        has_userspace_module=_has_module(target, release, "cpufreq_userspace"),
        is_sysfs_read_only=_is_read_only(target),
    )


def _parameters(command_line: str) -> dict[str, str]:
    found = {}
    for argument in command_line.split():
        name, _, value = argument.partition("=")
        found[name] = value
    return found


def _cpu_flags(cpuinfo: str) -> frozenset[str]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, ARM
            return frozenset(value.split())
    return frozenset()


def _has_module(target: Target, release: str, name: str) -> bool | None:
    directory = f"lib/modules/{release}"
    lists = [target.read(f"{directory}/modules.{kind}") for kind in ("builtin", "dep")]
    if not any(lists):
        return None
    return any(f"/{name}.ko" in text for text in lists)


def _is_read_only(target: Target) -> bool:
    for line in target.read("proc/mounts").splitlines():
        match line.split():
            case [_, where, "sysfs", options, *_] if where == str(target.cpu_root):
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


def read_kvm(target: Target) -> Kvm:
    """Read the permissions of the device node."""
    try:
        about = target.path("dev/kvm").stat()
    except OSError:
        return Kvm(exists=False)
    return Kvm(exists=True, mode=stat.S_IMODE(about.st_mode), gid=about.st_gid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """Security modules of the kernel that confine QEMU."""

    is_selinux_enforcing: bool


def read_confinement(target: Target) -> Confinement:
    """Read whether SELinux is enforcing."""
    enforce = read_text(target.cpu_root / "fs/selinux/enforce").strip()
    return Confinement(is_selinux_enforcing=enforce == "1")
