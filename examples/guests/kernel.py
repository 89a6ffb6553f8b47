"""A kernel for guests: Debian's cloud kernel, unpacked and never installed.

The package is fetched with ``apt-get download``, which needs no root. Where the
machine's package lists are missing (container images drop them) or outdated, lists
of our own are fetched into the cache first.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
from dataclasses import dataclass
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
    """What QEMU boots: ``vmlinuz-…``."""
    modules: Path
    """The directory that holds ``kernel/drivers`` and so on."""

    @property
    def release(self) -> str:
        """What ``uname -r`` says in a guest that boots it."""
        return self.modules.name

    def read_module(self, name: str) -> bytes:
        """Return the module ``name`` (as a file is named), ready for ``insmod``.

        Raises:
            GuestError: the package has no such module.
        """
        for path in self.modules.rglob(f"{name}.ko*"):
            data = path.read_bytes()
            return lzma.decompress(data) if path.suffix == ".xz" else data
        raise GuestError(f"{self.release} has no module {name}")


def fetch_kernel() -> Kernel:
    """Return the cached kernel, downloaded first (27 MB) if there is none yet.

    Raises:
        GuestError: it can be neither found nor downloaded.
    """
    return _kernel_in(cached(CACHE_NAME, _unpack_package))


def _kernel_in(directory: Path) -> Kernel:
    images = sorted((directory / "boot").glob("vmlinuz-*"))
    # /lib/modules, or /usr/lib/modules in packages since Debian 13.
    modules = sorted(directory.glob("**/lib/modules/*/kernel"))
    if not images or not modules:
        raise GuestError(
            f"{directory} holds no kernel; delete it and it is fetched again"
        )
    return Kernel(image=images[0], modules=modules[0].parent)


def _unpack_package(target: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise GuestError(
            "no apt-get here: unpack Debian's linux-image-…-cloud-amd64 package "
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
        raise GuestError(f"apt-cache does not know what {METAPACKAGE} depends on")
    # As root, apt warns that its sandbox user cannot write here; it goes on.
    _run(["apt-get", *options, "-q", "download", names[0]], cwd=directory)
    return next(directory.glob(f"{names[0]}_*.deb"))


def _run(command: Sequence[str], *, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuestError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
