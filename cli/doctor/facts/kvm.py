"""The node through which QEMU reaches hardware virtualization."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.doctor.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Kvm:
    """/dev/kvm."""

    exists: bool
    mode: int = 0
    """Permission bits."""
    gid: int = 0


def read_kvm(places: Places) -> Kvm:
    """Look at the node."""
    try:
        about = places.path("dev/kvm").stat()
    except OSError:
        return Kvm(exists=False)
    return Kvm(exists=True, mode=stat.S_IMODE(about.st_mode), gid=about.st_gid)
