"""A root directory for libvirt's embedded QEMU driver, ``qemu:///embed?root=…``.

The whole driver runs inside the process that opens the URI, as one process per root;
it needs a registered and running event loop there. Guests are found again by the
next process that opens the same root.

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
# Without virtlogd, and without a security driver that knows nothing of /tmp; without
# a mount namespace for each QEMU, which many containers and every chroot refuse; and
# without notes of former owners, whose file systems complain in the log.
stdio_handler = "file"
security_driver = "none"
namespaces = []
remember_owner = 0
"""
_CAPABILITIES = "qemu/capabilities"


class EmbedRoot:
    """The directory: short (a socket's path has 107 bytes) and readable for QEMU.

    Synchronization: one thread makes and closes it.
    """

    def __init__(self, *, user: str | None = None) -> None:
        """Lay it out under /tmp.

        Args:
            user: whom QEMU runs as, if we are root; default: as libvirt decides
                (``libvirt-qemu`` on Debian).
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
        """What to open; only one process at a time can."""
        return f"qemu:///embed?root={self.directory}"

    def publish(self, path: Path) -> Path:
        """Return a copy of ``path`` that QEMU's user can read."""
        return publish(path, self.directory)

    def close(self) -> None:
        """End the guests that still run here, and remove the directory.

        Close libvirt's connections to it first.
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
    """Copy a file into ``directory``, readable for all, once per name."""
    copy = directory / path.name
    if not copy.exists():
        shutil.copyfile(path, copy)
        copy.chmod(0o644)
    return copy


def make_guest_directory(directory: Path, user: str | None = None) -> Path:
    """Make the place for consoles and sockets, which QEMU's user may write to."""
    guests = directory / "g"
    guests.mkdir()
    if os.geteuid() == 0:
        shutil.chown(guests, user or "libvirt-qemu")
    return guests


def load_capabilities(cache: Path) -> None:
    """Give a new libvirt what an earlier one learnt of QEMU: probing takes 4 s."""
    known = cache_directory() / "capabilities"
    if known.is_dir():
        (cache / _CAPABILITIES).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(known, cache / _CAPABILITIES, dirs_exist_ok=True)


def save_capabilities(cache: Path) -> None:
    """Keep what this libvirt learnt; libvirt checks itself whether it still holds."""
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
            # The pid may be somebody else's by now.
            if b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            continue  # it ended by itself
