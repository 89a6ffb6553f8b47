"""Whether SELinux enforces; of AppArmor libvirt tells itself.

Source: selinuxfs, security/selinux/selinuxfs.c of the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.doctor.places import read_text

if TYPE_CHECKING:
    from cli.doctor.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """The kernel's part of what confines QEMU."""

    is_selinux_enforcing: bool


def read_confinement(places: Places) -> Confinement:
    """Look at the kernel's security modules."""
    enforce = read_text(places.cpu_root / "fs/selinux/enforce").strip()
    return Confinement(is_selinux_enforcing=enforce == "1")
