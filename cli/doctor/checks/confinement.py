"""Sockets with paths of their own, and a QEMU that is refused them.

Source: libvirt's virt-aa-helper (`valid_path`: directories that it never allows) and
its SELinux driver, which labels the socket but not the directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.examination import check
from cli.doctor.facts.directories import Directories
from cli.doctor.facts.kernel import Confinement
from cli.doctor.facts.libvirt import Libvirt
from cli.doctor.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.finding import Finding

_NEVER = [
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
_OTHERS_WRITE, _STICKY = 0o002, 0o1000


@check(Confinement, Libvirt, Directories)
def socket_confined(
    confinement: Confinement, libvirt: Libvirt, directories: Directories
) -> Iterator[Finding]:
    """AppArmor or SELinux keeps QEMU from a channel's own path."""
    models = libvirt.inspection.security_models if libvirt.inspection else frozenset()
    for where in (directory.path for directory in directories.directories):
        if "apparmor" in models and _is_never_allowed(where):
            yield warning(
                where,
                "AppArmor confines QEMU, and libvirt never lets it use sockets there",
                "use /run/NAME or /tmp/NAME, or channels without a path: libvirt then"
                " chooses one that works",
            )
        elif "selinux" in models and confinement.is_selinux_enforcing:
            yield warning(
                where,
                "SELinux confines QEMU, and may refuse sockets outside of libvirt's"
                " own directories",
                f"semanage fcontext -a -t qemu_var_run_t '{where}(/.*)?' && restorecon"
                f" -R {where}; or channels without a path",
            )


@check(Directories)
def socket_directory_absent(directories: Directories) -> Iterator[Finding]:
    """Sockets shall be in a directory that is not there: domains do not start."""
    for directory in directories.directories:
        if not directory.exists:
            yield error(
                directory.path,
                f"no such directory, and {', '.join(directory.domains)} shall have"
                " sockets there: libvirt will not start them",
                f"mkdir {directory.path}, and at each boot: echo 'd {directory.path}"
                " 0755 root root' > /etc/tmpfiles.d/vmpower.conf; or channels without"
                " a path",
            )


@check(Directories)
def socket_directory_open(directories: Directories) -> Iterator[Finding]:
    """Anybody may put a socket where a domain's is expected."""
    for directory in directories.directories:
        if directory.mode & _OTHERS_WRITE and not directory.mode & _STICKY:
            yield warning(
                directory.path,
                f"mode {directory.mode:04o}: any user may replace the sockets in it",
                f"chmod 0755 {directory.path}",
            )


def _is_never_allowed(directory: str) -> bool:
    return any(directory == one or directory.startswith(f"{one}/") for one in _NEVER)
