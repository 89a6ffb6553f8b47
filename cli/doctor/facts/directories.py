# SPDX-License-Identifier: Apache-2.0
"""Directories of channel sockets whose paths are set in domains, as for DPDK."""

from __future__ import annotations

import posixpath
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.facts.domains import Domains
    from cli.doctor.target import Target

_OF_LIBVIRT = ("/var/lib/libvirt/", "/run/libvirt/", "/var/run/libvirt/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """One directory of sockets."""

    path: str
    domains: tuple[str, ...]
    """Names of the domains with sockets there."""
    exists: bool
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Directories:
    """All such directories, without those that libvirt chose."""

    directories: tuple[Directory, ...]


def read_directories(domains: Domains, target: Target) -> Directories:
    """Read the directories of all channels whose path is set in the domain."""
    users: dict[str, set[str]] = {}
    for domain in domains.domains:
        for channel in domain.channels:
            if channel.path and not channel.path.startswith(_OF_LIBVIRT):
                where = posixpath.dirname(channel.path)
                users.setdefault(where, set()).add(domain.name)
    return Directories(tuple(_read(users, target)))


def _read(users: dict[str, set[str]], target: Target) -> Iterator[Directory]:
    for path, names in sorted(users.items()):
        mode = 0
        try:
            mode = stat.S_IMODE(target.path(path.lstrip("/")).stat().st_mode)
            exists = True
        except PermissionError:
            exists = True  # a parent directory cannot be read
        except OSError:
            exists = False
        yield Directory(
            path=path, domains=tuple(sorted(names)), exists=exists, mode=mode
        )
