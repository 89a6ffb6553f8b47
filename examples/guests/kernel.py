# SPDX-License-Identifier: Apache-2.0
"""A kernel for guests: Debian's cloud kernel, unpacked and never installed.

The package is downloaded with ``apt-get download``, which does not need root. If this
machine's package lists are missing (container images drop them) or outdated, lists are
first downloaded into the cache.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from examples.guests.cache import GuestError, cache_directory, cached

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        for path in self.modules.rglob(f"{name}.ko*"):
            data = path.read_bytes()
            return lzma.decompress(data) if path.suffix == ".xz" else data
        raise GuestError(f"{self.release} has no module {name}")


def fetch_kernel() -> Kernel:
    """Return the cached kernel; download it first (27 MB) if there is none.

    Raises:
        GuestError: the kernel is not cached and cannot be downloaded.
    """
    return _kernel_in(cached(CACHE_NAME, _unpack_package))


def _kernel_in(directory: Path) -> Kernel:
    images = sorted((directory / "boot").glob("vmlinuz-*"))
    # /lib/modules, or /usr/lib/modules in packages since Debian 13.
    modules = sorted(directory.glob("**/lib/modules/*/kernel"))
    if not images or not modules:
        raise GuestError(
            f"no kernel in {directory}: delete the directory to download it again"
        )
    return Kernel(image=images[0], modules=modules[0].parent)


def _unpack_package(target: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise GuestError(
            "apt-get not found: unpack Debian's linux-image-…-cloud-amd64 package "
            f"into {target.parent.parent / CACHE_NAME} (boot/ and lib/ inside)"
        )
    package = _download(target.parent)
    target.mkdir()
    _run(["dpkg", "-x", str(package), str(target)], cwd=target.parent)


def _download(directory: Path) -> Path:
    try:
        return _download_with([], directory)
    except GuestError:
        own_lists = _own_lists_options()
        _run(["apt-get", *own_lists, "-q", "update"], cwd=directory)
        return _download_with(own_lists, directory)


def _own_lists_options() -> list[str]:
    state = cache_directory() / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]


def _download_with(options: Sequence[str], directory: Path) -> Path:
    shown = _run(["apt-cache", *options, "depends", METAPACKAGE], cwd=directory)
    names = [
        line.split()[1]
        for line in shown.splitlines()
        if line.strip().startswith("Depends: linux-image-")
    ]
    if not names:
        raise GuestError(f"apt-cache lists no kernel that {METAPACKAGE} depends on")
    # As root, apt warns that its sandbox user cannot write here, and continues.
    _run(["apt-get", *options, "-q", "download", names[0]], cwd=directory)
    return next(directory.glob(f"{names[0]}_*.deb"))


def _run(command: Sequence[str], *, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuestError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
