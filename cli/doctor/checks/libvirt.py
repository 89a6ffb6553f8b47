# SPDX-License-Identifier: Apache-2.0
"""libvirt: whether domains can be read and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, info, warning
from cli.doctor.facts.accounts import Accounts, User
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.libvirt import Libvirt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding

_GROUP = "libvirt"
_ANOTHER = (
    "for another libvirt use --connect, LIBVIRT_DEFAULT_URI or libvirt.uri in"
    " vmpower.toml"
)


@check(Libvirt)
def libvirt_unreachable(libvirt: Libvirt) -> Iterator[Finding]:
    """Libvirt does not respond: no domain is known."""
    if libvirt.inspection is None:
        fix = libvirt.hint or _how_to_start(libvirt)
        yield error(f"libvirt {libvirt.uri}", libvirt.failure, fix)


def _how_to_start(libvirt: Libvirt) -> str:
    if not libvirt.units:
        return f"install libvirt's daemon with its QEMU driver, or start it; {_ANOTHER}"
    commands = " or ".join(f"systemctl start {unit}" for unit in libvirt.units)
    return f"{commands}; {_ANOTHER}"


@check(Libvirt, User, Accounts)
def libvirt_read_only(
    libvirt: Libvirt, user: User, accounts: Accounts
) -> Iterator[Finding]:
    """This user may read domains, but not change them."""
    inspection = libvirt.inspection
    if inspection is None or not inspection.write_refusal:
        return
    group = accounts.groups.get(_GROUP)
    if group is None:
        fix = "use sudo, or configure libvirt's access control (polkit)"
    elif _GROUP in user.groups:
        fix = f"group '{_GROUP}' is not sufficient here: {inspection.write_refusal}"
    elif user.name in group.members:
        fix = f"log in again: {user.name} is in group '{_GROUP}', this session is not"
    else:
        fix = f"usermod -aG {_GROUP} {user.name}, then log in again"
    yield warning(
        f"libvirt {libvirt.uri}",
        f"user '{user.name}' has read-only access: domain add, onboard, set and pin"
        " will fail",
        fix,
    )


@check(Status, Libvirt)
def libvirt_lost(status: Status, libvirt: Libvirt) -> Iterator[Finding]:
    """The daemon is not connected to libvirt."""
    known = status.document["libvirt"]
    if not known["connected"]:
        why = known["reason"] or "unknown reason"
        yield error(
            f"libvirt {known['uri']}",
            f"the daemon is not connected: {why}",
            _how_to_start(libvirt),
        )


@check(Libvirt)
def domain_unreadable(libvirt: Libvirt) -> Iterator[Finding]:
    """Domains that libvirt lists but cannot describe."""
    for name, why in (
        libvirt.inspection.unreadable if libvirt.inspection else {}
    ).items():
        yield warning(
            f"domain {name}",
            f"libvirt cannot describe it: {why}",
            f"see 'virsh dumpxml {name}'",
        )


@check(Libvirt, Status)
def libvirt_differs(libvirt: Libvirt, status: Status) -> Iterator[Finding]:
    """The command and the daemon use different libvirt URIs."""
    watched = status.document["libvirt"]["uri"]
    if libvirt.uri != watched:
        yield info(
            f"libvirt {libvirt.uri}",
            f"the daemon uses {watched}",
            f"to change the domains there, use --connect '{watched}'",
        )
