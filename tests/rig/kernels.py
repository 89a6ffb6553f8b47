# SPDX-License-Identifier: Apache-2.0
"""Kernels of labs, beside the one that all guests have (`examples.guests.kernel`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.guests.cache import cached
from examples.guests.kernel import METAPACKAGE, fetch_kernel, kernel_in
from examples.guests.packages import Archive, find_codename

if TYPE_CHECKING:
    from pathlib import Path

    from examples.guests.kernel import Kernel

_RECENT = (6, 12)


def fetch_recent_kernel() -> Kernel:
    """Return a kernel of Linux 6.12 or newer: this release's or a backport (30 MB).

    Raises:
        UnavailableError: it is not cached and cannot be downloaded.
    """
    kernel = fetch_kernel()
    if _version_of(kernel) >= _RECENT:
        return kernel
    return kernel_in(cached("kernel-recent", _unpack_backport))


def _version_of(kernel: Kernel) -> tuple[int, int]:
    major, minor = kernel.release.split(".")[:2]
    return int(major), int(minor)


def _unpack_backport(target: Path) -> None:
    archive = Archive(f"{find_codename()}-backports")
    package = archive.find_dependency(METAPACKAGE, "linux-image-")
    archive.unpack([package], target)
