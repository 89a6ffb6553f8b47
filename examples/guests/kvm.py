"""A /dev/kvm that libvirt is at peace with, for this process and its children only.

Theory of operation. Some virtual machines show ``/dev/kvm`` as ``root:root 0600``.
Then libvirt, as root, believes in KVM while it probes QEMU, and QEMU, as its own
user, does not get it: libvirt throws what it learnt away at every call, and each
``define`` takes 50 seconds instead of 0.02. The cure is the node as Debian's udev
rules make it, ``root:kvm 0660``. It is made in a mount namespace of our own: nothing
changes for anybody else.
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
    """Give this thread, and all that it starts from now on, its own mounts.

    What is mounted on the machine later still appears; what is mounted here stays
    here. Call it before other threads are started.

    Raises:
        OSError: we are not root, or a container forbids it.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "mount /")


def bind(source: Path, target: Path) -> None:
    """Show ``source`` at the place of ``target``.

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
    """Say whether libvirt, as root, would be misled by this machine's /dev/kvm."""
    if os.geteuid() != 0 or not _KVM.exists():
        return False
    about = _KVM.stat()
    is_for_group = about.st_gid in _qemu_groups() and about.st_mode & 0o060 == 0o060
    return not is_for_group and about.st_mode & 0o006 != 0o006


def fix_kvm() -> None:
    """Put a healthy node over /dev/kvm, in the mounts that we already left with.

    Raises:
        OSError: a container forbids it.
    """
    if not is_kvm_misconfigured():
        return
    groups = _qemu_groups()
    with tempfile.TemporaryDirectory(prefix="vm-") as directory:
        # A mount of its own: where /tmp or /dev/shm forbid device nodes, it does not.
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
