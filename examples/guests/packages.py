# SPDX-License-Identifier: Apache-2.0
"""Debian packages that are downloaded and unpacked, never installed.

``apt-get download`` does not need root. If the package lists are missing (container
images drop them, and a release that this machine does not use has none) or outdated,
lists are first downloaded into the cache.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from examples.guests.cache import GuestError, cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")

_DEFAULT_MIRROR = "http://deb.debian.org/debian"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class UnavailableError(GuestError):
    """A package cannot be downloaded, for the given reason."""


class Archive(NamedTuple):
    """Where packages come from; by default, the archives that this machine uses."""

    suite: str = ""
    """Such as ``bookworm-backports``, on the mirror that this machine uses."""
    architecture: str = "amd64"
    """Of the packages; ignored without a suite."""

    def find_dependency(self, package: str, prefix: str) -> str:
        """Return the first dependency of ``package`` whose name begins like this.

        Raises:
            UnavailableError: there is none, or no such package.
        """

        def find(options: list[str]) -> str:
            shown = run(["apt-cache", *options, "depends", package])
            for line in shown.splitlines():
                kind, _, name = line.strip().partition(": ")
                if kind == "Depends" and name.startswith(prefix):
                    return name
            raise GuestError(f"{package} depends on no {prefix}…")

        return self._attempt(find)

    def unpack(
        self, packages: Iterable[str], target: Path, *, members: Sequence[str] = ("*",)
    ) -> None:
        """Download packages and unpack them into the directory ``target``.

        Args:
            packages: their names.
            target: a directory; created if necessary.
            members: glob patterns of what to unpack; each package has some of each.

        Raises:
            UnavailableError: one of them cannot be downloaded.
            GuestError: one has no such member.
        """
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as name:
            directory = Path(name)

            def download(options: list[str]) -> None:
                for file in directory.iterdir():  # of an attempt with outdated lists
                    file.unlink()
                # As root, apt warns that its sandbox user cannot write here, and
                # continues.
                run(["apt-get", *options, "-q", "download", *packages], cwd=directory)

            self._attempt(download)
            for file in sorted(directory.iterdir()):
                _unpack_file(file, target, members)

    def _attempt(self, action: Callable[[list[str]], T]) -> T:
        """Return the result of ``action`` with apt's options; retry with new lists."""
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise UnavailableError("apt-get not found: packages cannot be downloaded")
        try:
            return action(self._options() if self.suite else [])
        except GuestError:
            options = self._options()
        try:
            run(["apt-get", *options, "-q", "update"])
            return action(options)
        except GuestError as error:
            raise UnavailableError(str(error)) from error

    def _options(self) -> list[str]:
        """Return the options that make apt use lists in the cache."""
        state = cache_directory() / "apt"
        if self.suite:
            state /= f"{self.suite}-{self.architecture}"
        for name in ("lists/partial", "cache/archives/partial"):
            (state / name).mkdir(parents=True, exist_ok=True)
        settings = {
            "Dir::State::Lists": str(state / "lists"),
            "Dir::Cache": str(state / "cache"),
        }
        if self.suite:
            sources, status = state / "sources.list", state / "status"
            sources.write_text(
                f"deb [signed-by={_KEYRING}] {_find_mirror()} {self.suite} main\n"
            )
            status.touch()
            settings |= {
                "Dir::Etc::SourceList": str(sources),
                "Dir::Etc::SourceParts": "/dev/null",
                "Dir::State::status": str(status),
                "APT::Architecture": self.architecture,
                "APT::Architectures": self.architecture,
                "Acquire::Languages": "none",
            }
        return [word for item in settings.items() for word in ("-o", "=".join(item))]


def find_codename() -> str:
    """Return the name of this machine's Debian release, such as ``bookworm``.

    Raises:
        UnavailableError: it is not a Debian release.
    """
    system = platform.freedesktop_os_release()
    if system.get("ID") != "debian" or "VERSION_CODENAME" not in system:
        raise UnavailableError(f"packages are downloaded on Debian only: {system}")
    return system["VERSION_CODENAME"]


def run(command: list[str], *, cwd: Path | None = None) -> str:
    """Run a program and return its standard output.

    Raises:
        GuestError: it failed.
    """
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuestError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _unpack_file(package: Path, target: Path, members: Sequence[str]) -> None:
    command = ["tar", "-x", "--no-same-owner", "--wildcards", *members]
    with subprocess.Popen(
        ["dpkg", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as content:
        done = subprocess.run(
            command, cwd=target, stdin=content.stdout, capture_output=True, check=False
        )
    if done.returncode != 0 or content.returncode != 0:
        raise GuestError(f"{package.name}: {done.stderr.decode().strip()}")


def _find_mirror() -> str:
    """Return the mirror from which this machine downloads its own release."""
    fields = "$(RELEASE) $(REPO_URI)"
    shown = run(["apt-get", "indextargets", "--format", fields])
    mirrors = dict(
        line.split() for line in shown.splitlines() if len(line.split()) == 2
    )
    return mirrors.get(find_codename(), _DEFAULT_MIRROR)
