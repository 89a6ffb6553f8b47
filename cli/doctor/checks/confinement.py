# SPDX-License-Identifier: Apache-2.0
"""Channel sockets with their own paths, and AppArmor or SELinux denying them to QEMU.

Source: libvirt's virt-aa-helper (`valid_path`: directories that it never allows) and
its SELinux driver, which labels the socket but not its directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, warning
from cli.doctor.facts.directories import Directories
from cli.doctor.facts.kernel import Confinement
from cli.doctor.facts.libvirt import Libvirt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding

_NEVER_ALLOWED = [
    "/bin",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/sbin",
    "/sys",
    "/boot",
    "/selinux",
    "/usr/bin",
    "/usr/lib",
    "/usr/sbin",
    "/usr/share",
]
_WRITABLE_BY_OTHERS, _STICKY = 0o002, 0o1000


@check(Confinement, Libvirt, Directories)
def socket_confined(
    confinement: Confinement, libvirt: Libvirt, directories: Directories
) -> Iterator[Finding]:
    """AppArmor or SELinux denies QEMU the path of a channel."""
    models = libvirt.inspection.security_models if libvirt.inspection else frozenset()
    for path in (directory.path for directory in directories.directories):
        if "apparmor" in models and _is_never_allowed(path):
            yield warning(
                path,
                "AppArmor confines QEMU, and libvirt's profile never allows sockets"
                " there",
                "use /run/NAME, or channels without a path: libvirt then chooses one",
            )
        elif "selinux" in models and confinement.is_selinux_enforcing:
            yield warning(
                path,
                "SELinux confines QEMU, and may deny sockets outside of libvirt's own"
                " directories",
                f"semanage fcontext -a -t qemu_var_run_t '{path}(/.*)?' && restorecon"
                f" -R {path}; or use channels without a path",
            )


@check(Directories)
def socket_directory_absent(directories: Directories) -> Iterator[Finding]:
    """The directory of a channel's socket does not exist: the domain cannot start."""
    for directory in directories.directories:
        if not directory.exists:
            yield error(
                directory.path,
                "no such directory: libvirt cannot start"
                f" {', '.join(directory.domains)}, with channel sockets there",
                f"mkdir {directory.path}, and for each boot: echo 'd {directory.path}"
                " 0755 root root' > /etc/tmpfiles.d/vmpower.conf; or use channels"
                " without a path",
            )


@check(Directories)
def socket_directory_open(directories: Directories) -> Iterator[Finding]:
    """Any user can replace the sockets of domains."""
    for directory in directories.directories:
        if directory.mode & _WRITABLE_BY_OTHERS and not directory.mode & _STICKY:
            yield warning(
                directory.path,
                f"mode {directory.mode:04o}: any user can replace the sockets in it",
                f"chmod 0755 {directory.path}",
            )


def _is_never_allowed(directory: str) -> bool:
    return any(
        directory == one or directory.startswith(f"{one}/") for one in _NEVER_ALLOWED
    )
