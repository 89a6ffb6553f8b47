# SPDX-License-Identifier: Apache-2.0
"""A root directory for libvirt's embedded QEMU driver, ``qemu:///embed?root=…``.

The driver runs inside the process that opens the URI, which must be the only one with
this root and must run libvirt's event loop. Guests outlive the process: the next one
that opens the same root finds them.

Usage::

    with EmbedRoot() as root:
        connection = libvirt.open(root.uri)
        kernel = root.publish(fetch_kernel().image)     # readable by QEMU's user

As root on a machine with an unusual /dev/kvm, call ``leave_mount_namespace()`` and
``fix_kvm()`` of :mod:`examples.guests.kvm` first, before any thread is started.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from examples.guests.cache import cache_directory

if TYPE_CHECKING:
    from types import TracebackType

_QEMU_CONF = """\
# No virtlogd; no security driver, whose profiles do not cover /tmp; no mount namespace
# for each QEMU, which many containers and every chroot deny; and no record of former
# file owners, which some file systems cannot store (libvirt logs an error then).
stdio_handler = "file"
security_driver = "none"
namespaces = []
remember_owner = 0
"""
_CAPABILITIES = "qemu/capabilities"


class EmbedRoot:
    """The root directory: a short path (sockets allow 107 bytes) that QEMU can read.

    Synchronization: one thread creates and closes it.
    """

    def __init__(self, *, user: str | None = None) -> None:
        """Create the directory under /tmp.

        Args:
            user: the user that QEMU runs as, if this process is root; default:
                libvirt's own (``libvirt-qemu`` on Debian).
        """
        self.directory = Path(tempfile.mkdtemp(prefix="vm-", dir="/tmp"))
        self.directory.chmod(0o755)
        lines = _QEMU_CONF
        if user is not None:
            group = pwd.getpwnam(user).pw_gid
            lines += f'user = "{user}"\ngroup = "+{group}"\n'
        (self.directory / "etc").mkdir()
        (self.directory / "etc/qemu.conf").write_text(lines)
        self.guests = make_guest_directory(self.directory, user)
        load_capabilities(self.directory / "cache")

    @property
    def uri(self) -> str:
        """The URI to open, by one process at a time."""
        return f"qemu:///embed?root={self.directory}"

    def publish(self, path: Path) -> Path:
        """Return a copy of ``path`` that QEMU's user can read."""
        return publish(path, self.directory)

    def close(self) -> None:
        """Kill the guests that still run, and remove the directory.

        Close the libvirt connections to it first.
        """
        kill_guests(self.directory / "run/qemu")
        save_capabilities(self.directory / "cache")
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def publish(path: Path, directory: Path) -> Path:
    """Copy a file into ``directory``, readable by all users, once per name."""
    copy = directory / path.name
    if not copy.exists():
        shutil.copyfile(path, copy)
        copy.chmod(0o644)
    return copy


def make_guest_directory(directory: Path, user: str | None = None) -> Path:
    """Make the directory for consoles and sockets, writable by QEMU's user."""
    guests = directory / "g"
    guests.mkdir()
    if os.geteuid() == 0:
        shutil.chown(guests, user or "libvirt-qemu")
    return guests


def load_capabilities(cache: Path) -> None:
    """Give a new libvirt root the cached QEMU capabilities: probing takes 4 s."""
    known = cache_directory() / "capabilities"
    if known.is_dir():
        (cache / _CAPABILITIES).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(known, cache / _CAPABILITIES, dirs_exist_ok=True)


def save_capabilities(cache: Path) -> None:
    """Cache the capabilities found; libvirt itself checks whether they are current."""
    known = cache_directory() / "capabilities"
    known.mkdir(exist_ok=True)
    for path in (cache / _CAPABILITIES).glob("*.xml"):
        fresh = known / f".{path.name}.{os.getpid()}"
        shutil.copy2(path, fresh)
        fresh.rename(known / path.name)


def kill_guests(pid_files: Path) -> None:
    """Kill the QEMUs whose pid files are in this directory."""
    for file in pid_files.glob("*.pid"):
        if file.name == "driver.pid":
            continue
        try:
            pid = int(file.read_text())
            # The pid may have been reused by another process.
            if b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            continue  # it has already exited
