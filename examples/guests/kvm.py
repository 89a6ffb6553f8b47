# SPDX-License-Identifier: Apache-2.0
"""Replaces a /dev/kvm that misleads libvirt, for this process and its children only.

Theory of operation. On some virtual machines ``/dev/kvm`` is ``root:root 0600``. Then
libvirt, as root, finds KVM usable, but QEMU, under its own user, cannot open it:
libvirt discards its cached capabilities at every call, and each ``define`` takes
50 seconds instead of 0.02. The fix is a device node with the owner and mode of
Debian's udev rules, ``root:kvm 0660``. It is mounted in a private mount namespace:
other processes are not affected.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
import tempfile
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MNT_DETACH = 2
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SLAVE = 0x80000
_QEMU_USERS = ("libvirt-qemu", "qemu")

_KVM = Path("/dev/kvm")
_libc = ctypes.CDLL(None, use_errno=True)


def leave_mount_namespace() -> None:
    """Move this thread, and everything it starts later, to its own mount namespace.

    Mounts of the host still propagate into it, but not out of it. Call this before
    other threads are started.

    Raises:
        OSError: this process is not root, or a container forbids it.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "mount /")


def bind(source: Path, target: Path) -> None:
    """Bind-mount ``source`` over ``target``.

    Raises:
        OSError: see ``mount(2)``.
    """
    done = _libc.mount(bytes(source), bytes(target), None, _MS_BIND, None)
    _check(done, f"bind {source} over {target}")


def mount(source: str, target: Path, kind: str) -> None:
    """Mount a file system of this kind at ``target``.

    Raises:
        OSError: see ``mount(2)``.
    """
    done = _libc.mount(source.encode(), bytes(target), kind.encode(), 0, None)
    _check(done, f"mount {kind} at {target}")


def is_kvm_misconfigured() -> bool:
    """Whether this process is root and QEMU's user cannot open /dev/kvm."""
    if os.geteuid() != 0 or not _KVM.exists():
        return False
    status = _KVM.stat()
    group_can_open = status.st_gid in _qemu_groups() and status.st_mode & 0o060 == 0o060
    return not group_can_open and status.st_mode & 0o006 != 0o006


def fix_kvm() -> None:
    """Mount a node with the right mode over /dev/kvm, after leave_mount_namespace().

    Raises:
        OSError: a container forbids it.
    """
    if not is_kvm_misconfigured():
        return
    groups = _qemu_groups()
    with tempfile.TemporaryDirectory(prefix="vm-") as directory:
        # A new tmpfs: /tmp and /dev/shm may be mounted without device nodes.
        mount("tmpfs", Path(directory), "tmpfs")
        node = Path(directory) / "kvm"
        os.mknod(node, stat.S_IFCHR | 0o660, _KVM.stat().st_rdev)
        os.chown(node, 0, groups[0] if groups else 0)
        node.chmod(0o660 if groups else 0o666)
        bind(node, _KVM)
        _check(_libc.umount2(bytes(Path(directory)), _MNT_DETACH), "umount")


def _qemu_groups() -> list[int]:
    groups: list[int] = []
    for name in _QEMU_USERS:
        try:
            groups.append(pwd.getpwnam(name).pw_gid)
        except KeyError:
            continue
    return groups


def _check(result: int, doing: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{doing}: {os.strerror(error)}")
