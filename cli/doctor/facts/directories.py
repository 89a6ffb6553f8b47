"""Directories of channel sockets that domains name themselves, as DPDK's habit is."""

from __future__ import annotations

import posixpath
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.facts.domains import Domains
    from cli.doctor.places import Places

_LIBVIRT = ("/var/lib/libvirt/", "/run/libvirt/", "/var/run/libvirt/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """One of them."""

    path: str
    domains: tuple[str, ...]
    """Names of those that have sockets there."""
    exists: bool
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Directories:
    """All of them; those that libvirt chose are its own business."""

    directories: tuple[Directory, ...]


def read_directories(domains: Domains, places: Places) -> Directories:
    """Style at the directories of all channels that have a path of their own."""
    users: dict[str, set[str]] = {}
    for domain in domains.domains:
        for channel in domain.channels:
            if channel.path and not channel.path.startswith(_LIBVIRT):
                where = posixpath.dirname(channel.path)
                users.setdefault(where, set()).add(domain.name)
    return Directories(tuple(_look(users, places)))


def _look(users: dict[str, set[str]], places: Places) -> Iterator[Directory]:
    for path, names in sorted(users.items()):
        mode = 0
        try:
            mode = stat.S_IMODE(places.path(path.lstrip("/")).stat().st_mode)
            exists = True
        except PermissionError:
            exists = True  # below one that is not for us
        except OSError:
            exists = False
        yield Directory(
            path=path, domains=tuple(sorted(names)), exists=exists, mode=mode
        )
