# SPDX-License-Identifier: Apache-2.0
"""The CPU tree: /sys, or a simulated one, a directory on disk with the same files.

Source: Documentation/ABI/testing/sysfs-devices-system-cpu of the kernel.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, SysfsError
from orchestrator.system.ownership import is_own
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from collections.abc import Callable

CPU_DIR = "devices/system/cpu"
"""Directory of the CPUs below the root of a tree."""
MARKER = "vmpower-simulated"
"""File in the root of a simulated tree; its first line identifies the tree."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MAX_VALUE_BYTES = 65_536
"""Maximum read from one file: sysfs is limited to a page, 4 KiB on most machines and
64 KiB on some."""
_READ_ONLY = (
    "the tree is mounted read-only; in a service, remove ProtectKernelTunables="
)


class CpuTree:
    """Files below one root; paths are relative to it.

    Synchronization: none required; only `is_simulated` is cached.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cpu_dir = root / CPU_DIR
        self.is_simulated = (root / MARKER).is_file()

    @classmethod
    def host(cls) -> CpuTree:
        """Return the tree of this machine."""
        return cls(Path("/sys"))

    def __repr__(self) -> str:
        return f"CpuTree({str(self.root)!r})"

    def open(self, relative: str, *, writable: bool) -> int:
        """Open a file and return its descriptor, which the caller must close.

        A file is opened for writing without following links, except in a simulated tree
        of this process's user: the kernel has none on the way to an attribute that is
        written, and in another user's tree they might lead anywhere.

        Raises:
            SysfsError: no such file, permission denied, or a link on the way.
        """
        # Not a Path: each verification opens two files for every clock group, and
        # joining paths would take as long as reading them.
        path = f"{self.root}/{relative}"
        try:
            if not writable:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if self._is_own_simulation():
                return os.open(path, os.O_RDWR | os.O_CLOEXEC)
            return _open_without_links(self.root, relative, os.O_RDWR)
        except OSError as error:
            doing = "open for writing" if writable else "open"
            refusal = SysfsError(path, error.errno or errno.EIO, doing)
            if error.errno == errno.EROFS:
                refusal.hint = _READ_ONLY
            raise refusal from error

    def _is_own_simulation(self) -> bool:
        paths = (self.root, self.root / MARKER)
        return self.is_simulated and all(is_own(path.stat()) for path in paths)

    def read_fd(self, fd: int, relative: str) -> bytes:
        """Read all bytes through an open descriptor; `relative` is for the error.

        Raises:
            SysfsError: the kernel refused.
        """
        try:
            return os.pread(fd, MAX_VALUE_BYTES, 0)
        except OSError as error:
            path = str(self.root / relative)
            raise SysfsError(path, error.errno or errno.EIO, "read") from error

    def write_fd(
        self, fd: int, relative: str, value: bytes, write: Callable[[int, bytes], None]
    ) -> None:
        """Write a value through an open descriptor; `relative` is for the error.

        Args:
            fd: of the file.
            relative: its path.
            value: what is written.
            write: how; one of those in `attribute`.

        Raises:
            SysfsError: the kernel refused.
        """
        try:
            write(fd, value)
        except OSError as error:
            path = str(self.root / relative)
            raise SysfsError(path, error.errno or errno.EIO, "write") from error

    def write(
        self, relative: str, value: bytes, write: Callable[[int, bytes], None]
    ) -> None:
        """Open a file and write a value; see `write_fd`.

        Raises:
            SysfsError: the file cannot be opened, or the kernel refused.
        """
        fd = self.open(relative, writable=True)
        try:
            self.write_fd(fd, relative, value, write)
        finally:
            os.close(fd)

    def read_bytes(self, relative: str) -> bytes:
        """Read all bytes of a file.

        Raises:
            SysfsError: the file cannot be opened or read.
        """
        fd = self.open(relative, writable=False)
        try:
            return self.read_fd(fd, relative)
        finally:
            os.close(fd)

    def read(self, relative: str) -> str:
        """Read the first line of a file, without surrounding white space.

        Raises:
            SysfsError: the file cannot be opened or read, or is not text (EILSEQ).
        """
        value = self.read_bytes(relative)
        if b"\0" in value:
            raise SysfsError(str(self.root / relative), errno.EILSEQ, "parse")
        return first_line(value)

    def read_khz(self, relative: str) -> int | None:
        """Read a frequency; None: no such file, or not a number."""
        try:
            word = self.read(relative)
        except SysfsError:
            return None
        return int(word) if word.isascii() and word.isdigit() else None

    def online(self) -> frozenset[PCpu]:
        """Read which CPUs are online.

        Raises:
            SysfsError: no such file, or not a CPU list.
        """
        return self._read_cpus("online")

    def present(self) -> frozenset[PCpu]:
        """Read which CPUs exist, online or not.

        Raises:
            SysfsError: no such file, or not a CPU list.
        """
        return self._read_cpus("present")

    def identity(self) -> str:
        """Return the real path of the tree, the same for all paths that lead to it."""
        return str(self.root.resolve())

    def boot_id(self) -> str:
        """Return what identifies the lifetime of the settings.

        That is the kernel's boot, or the creation of a simulated tree.

        Raises:
            SysfsError: it cannot be read.
        """
        if self.is_simulated and (own := self.read(MARKER)):
            return own  # files on disk survive a reboot
        return CpuTree(BOOT_ID.parent).read(BOOT_ID.name)

    def _read_cpus(self, name: str) -> frozenset[PCpu]:
        relative = f"{CPU_DIR}/{name}"
        try:
            return frozenset(map(PCpu, parse_cpulist(self.read(relative))))
        except ConfigError as error:
            path = str(self.root / relative)
            raise SysfsError(path, errno.EINVAL, "parse") from error


def _open_without_links(root: Path, relative: str, flags: int) -> int:
    """Open a file below a directory; a link on the way is an error (ELOOP, ENOTDIR).

    As openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, on every kernel.
    """
    *parents, name = relative.split("/")
    if ".." in parents or name == "..":
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    path_flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    directory = os.open(root, path_flags)
    try:
        for parent in parents:
            inner = os.open(parent, path_flags | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    finally:
        os.close(directory)


def first_line(value: bytes) -> str:
    """Return the first line of a value, without surrounding white space."""
    return value.decode("ascii", "replace").partition("\n")[0].strip()


def policy_path(number: int, name: str = "") -> str:
    """Return the path of an attribute of policyN, relative to the root."""
    directory = f"{CPU_DIR}/cpufreq/policy{number}"
    return f"{directory}/{name}" if name else directory


def policy_number(path: str) -> int:
    """Return the number of the cpufreq policy that an attribute belongs to."""
    return int(path.split("/")[-2].removeprefix("policy"))
