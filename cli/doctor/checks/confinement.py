"""Sockets that a confined QEMU would be refused.

Source: libvirt's virt-aa-helper (`valid_path`: directories that it never allows) and
its SELinux driver, which labels the socket but not the directory.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from cli.doctor.examination import check
from cli.doctor.facts.confinement import Confinement
from cli.doctor.facts.domains import Domains
from cli.doctor.facts.libvirt import Libvirt
from cli.doctor.finding import warning

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
_LIBVIRT = ("/var/lib/libvirt/", "/run/libvirt/", "/var/run/libvirt/")


@check(Confinement, Libvirt, Domains)
def socket_confined(
    confinement: Confinement, libvirt: Libvirt, domains: Domains
) -> Iterator[Finding]:
    """AppArmor or SELinux keeps QEMU from a channel's own path."""
    models = libvirt.inspection.security_models if libvirt.inspection else frozenset()
    for where in sorted(set(_directories(domains))):
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


def _directories(domains: Domains) -> Iterator[str]:
    for domain in domains.domains:
        for channel in domain.channels:
            if channel.path and not channel.path.startswith(_LIBVIRT):
                yield posixpath.dirname(channel.path)


def _is_never_allowed(directory: str) -> bool:
    return any(directory == one or directory.startswith(f"{one}/") for one in _NEVER)
