# SPDX-License-Identifier: Apache-2.0
"""A kernel for guests: Debian's cloud kernel, unpacked and never installed."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from examples.guests.cache import GuestError, cached
from examples.guests.packages import Archive, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

METAPACKAGE = "linux-image-cloud-amd64"
CACHE_NAME = "kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """An unpacked kernel package."""

    image: Path
    """The image that QEMU boots: ``vmlinuz-…``."""
    modules: Path
    """The directory of modules, the parent of ``kernel/drivers``."""
    built: Path | None = None
    """A directory of more modules, which were built for this kernel."""

    @property
    def release(self) -> str:
        """The kernel release, as ``uname -r`` prints it in the guest."""
        return self.modules.name

    def is_built_in(self, name: str) -> bool:
        """Return whether the module ``name`` is part of the image, not a file.

        Debian builds virtio in since release 13.
        """
        listed = (self.modules / "modules.builtin").read_text().splitlines()
        return any(PurePosixPath(line).name == f"{name}.ko" for line in listed)

    def read_module(self, name: str) -> bytes:
        """Return the module ``name`` (its file name), decompressed for ``insmod``.

        Raises:
            GuestError: the package has no such module.
        """
        for directory in filter(None, (self.built, self.modules)):
            for path in directory.rglob(f"{name}.ko*"):
                data = path.read_bytes()
                return lzma.decompress(data) if path.suffix == ".xz" else data
        raise GuestError(f"{self.release} has no module {name}")


def fetch_kernel() -> Kernel:
    """Return the cached kernel; download it first (27 MB) if there is none.

    Raises:
        GuestError: the kernel is not cached and cannot be downloaded.
    """
    return kernel_in(cached(CACHE_NAME, _unpack_package))


def kernel_in(directory: Path) -> Kernel:
    """Return the kernel whose package is unpacked in ``directory``.

    Raises:
        GuestError: there is none.
    """
    images = sorted((directory / "boot").glob("vmlinuz-*"))
    # /lib/modules, or /usr/lib/modules in packages since Debian 13.
    modules = sorted(directory.glob("**/lib/modules/*/kernel"))
    if not images or not modules:
        raise GuestError(
            f"no kernel in {directory}: delete the directory to download it again"
        )
    return Kernel(image=images[0], modules=modules[0].parent)


def _unpack_package(target: Path) -> None:
    archive = Archive()
    try:
        package = archive.find_dependency(METAPACKAGE, "linux-image-")
        archive.unpack([package], target)
    except UnavailableError as error:
        place = target.parent.parent / CACHE_NAME
        raise UnavailableError(
            f"{error}; or unpack Debian's linux-image-…-cloud-amd64 package into "
            f"{place} (boot/ and lib/ inside)"
        ) from error
