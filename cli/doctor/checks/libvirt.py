"""libvirt: whether domains can be seen and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.examination import check
from cli.doctor.facts.accounts import Accounts, Person
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.libvirt import Libvirt
from cli.doctor.finding import error, info, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.finding import Finding

_GROUP = "libvirt"
_START = (
    "systemctl start libvirtd (or virtqemud.socket); another one is named with"
    " --connect, LIBVIRT_DEFAULT_URI or libvirt.uri in vmpower.toml"
)


@check(Libvirt)
def libvirt_unreachable(libvirt: Libvirt) -> Iterator[Finding]:
    """Libvirt does not answer, so that no domain is known."""
    if libvirt.inspection is None:
        yield error(f"libvirt {libvirt.uri}", libvirt.failure, libvirt.hint or _START)


@check(Libvirt, Person, Accounts)
def libvirt_read_only(
    libvirt: Libvirt, person: Person, accounts: Accounts
) -> Iterator[Finding]:
    """This user sees domains and may change none."""
    seen = libvirt.inspection
    if seen is None or not seen.write_refusal:
        return
    group = accounts.groups.get(_GROUP)
    if group is None:
        cure = "use sudo, or see libvirt's access control (polkit)"
    elif _GROUP in person.groups:
        cure = f"being in group '{_GROUP}' is not enough here: {seen.write_refusal}"
    elif person.name in group.members:
        cure = f"log in again: {person.name} is in '{_GROUP}', not yet this session"
    else:
        cure = f"usermod -aG {_GROUP} {person.name}, then log in again"
    yield warning(
        f"libvirt {libvirt.uri}",
        f"user '{person.name}' may look and change nothing: domain add, onboard, set"
        " and pin will fail",
        cure,
    )


@check(Status)
def libvirt_lost(status: Status) -> Iterator[Finding]:
    """The daemon has lost libvirt, or never had it."""
    libvirt = status.document["libvirt"]
    if not libvirt["connected"]:
        why = libvirt["reason"] or "for a reason that it does not know"
        yield error(
            f"libvirt {libvirt['uri']}", f"the daemon is not connected: {why}", _START
        )


@check(Libvirt)
def domain_unreadable(libvirt: Libvirt) -> Iterator[Finding]:
    """Domains that libvirt lists and cannot describe."""
    for name, why in (
        libvirt.inspection.unreadable if libvirt.inspection else {}
    ).items():
        yield warning(
            f"domain {name}",
            f"cannot be described: {why}",
            f"see 'virsh dumpxml {name}'",
        )


@check(Libvirt, Status)
def libvirt_differs(libvirt: Libvirt, status: Status) -> Iterator[Finding]:
    """The command speaks to another libvirt than the daemon watches."""
    watched = status.document["libvirt"]["uri"]
    if libvirt.uri != watched:
        yield info(
            f"libvirt {libvirt.uri}",
            f"the daemon watches {watched}",
            f"to onboard what it watches: --connect '{watched}'",
        )
