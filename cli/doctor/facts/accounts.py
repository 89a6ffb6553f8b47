"""Users and groups: of the machine, and of the person who asks.

Source: passwd(5), group(5).
"""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.doctor.places import Places

QEMU_USERS = ("libvirt-qemu", "qemu")
"""Whom a system libvirt runs QEMU as: Debian's name, then RHEL's and SUSE's."""
_GROUP_FIELDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group of the machine."""

    name: str
    gid: int
    members: frozenset[str]
    """Those that the file lists, without those whose own group it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The machine's."""

    groups: Mapping[str, Group]
    qemu_gids: frozenset[int]
    """Groups that QEMU runs with; none: there is no such user."""

    def group_name(self, gid: int) -> str:
        """Name a group, by its number if it has no name."""
        for group in self.groups.values():
            if group.gid == gid:
                return group.name
        return str(gid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks."""

    name: str
    uid: int
    groups: frozenset[str]
    """Of the process: those of the last log-in."""


def read_accounts(places: Places) -> Accounts:
    """Read users and groups from their files, not from a directory service."""
    groups = {}
    for line in places.read("etc/group").splitlines():
        fields = line.split(":")
        if len(fields) == _GROUP_FIELDS and fields[2].isdecimal():
            members = frozenset(filter(None, fields[3].split(",")))
            group = Group(name=fields[0], gid=int(fields[2]), members=members)
            groups[group.name] = group
    qemu = {
        int(fields[3])
        for line in places.read("etc/passwd").splitlines()
        if (fields := line.split(":"))[0] in QEMU_USERS and fields[3].isdecimal()
    }
    qemu |= {
        group.gid for group in groups.values() if group.members.intersection(QEMU_USERS)
    }
    return Accounts(groups=groups, qemu_gids=frozenset(qemu))


def read_person() -> Person:
    """Read who we are."""
    uid = os.geteuid()
    name = str(uid)
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    groups = set()
    for gid in {os.getegid(), *os.getgroups()}:
        with suppress(KeyError):
            groups.add(grp.getgrgid(gid).gr_name)
    return Person(name=name, uid=uid, groups=frozenset(groups))
