# SPDX-License-Identifier: Apache-2.0
"""Users and groups of the host, and the user who runs the command.

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

    from cli.doctor.target import Target

QEMU_USERS = ("libvirt-qemu", "qemu")
"""Users that libvirt runs QEMU as: on Debian, then on RHEL and SUSE."""
_GROUP_FIELDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group."""

    name: str
    gid: int
    members: frozenset[str]
    """As listed in the file; without users whose primary group it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The users and groups of the host."""

    groups: Mapping[str, Group]
    qemu_gids: frozenset[int]
    """Groups that QEMU runs with; empty: there is no such user."""

    def group_name(self, gid: int) -> str:
        """Return the name of a group, or its number if it has none."""
        for group in self.groups.values():
            if group.gid == gid:
                return group.name
        return str(gid)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user who runs the command."""

    name: str
    uid: int
    groups: frozenset[str]
    """Of this session."""


def read_accounts(target: Target) -> Accounts:
    """Read users and groups from files, without directory services."""
    groups = {}
    for line in target.read("etc/group").splitlines():
        fields = line.split(":")
        if len(fields) == _GROUP_FIELDS and fields[2].isdecimal():
            members = frozenset(filter(None, fields[3].split(",")))
            group = Group(name=fields[0], gid=int(fields[2]), members=members)
            groups[group.name] = group
    qemu = {
        int(fields[3])
        for line in target.read("etc/passwd").splitlines()
        if (fields := line.split(":"))[0] in QEMU_USERS and fields[3].isdecimal()
    }
    qemu |= {
        group.gid for group in groups.values() if group.members.intersection(QEMU_USERS)
    }
    return Accounts(groups=groups, qemu_gids=frozenset(qemu))


def read_user() -> User:
    """Return the user and groups of this process."""
    uid = os.geteuid()
    name = str(uid)
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    groups = set()
    for gid in {os.getegid(), *os.getgroups()}:
        with suppress(KeyError):
            groups.add(grp.getgrgid(gid).gr_name)
    return User(name=name, uid=uid, groups=frozenset(groups))
