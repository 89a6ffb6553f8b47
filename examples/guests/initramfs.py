# SPDX-License-Identifier: Apache-2.0
"""An initramfs: the root file system of a guest, as an uncompressed cpio archive.

It is uncompressed because QEMU loads it in no time, while a guest without KVM would
take longer to decompress it than to boot.

Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst,
the "newc" format.
"""

from __future__ import annotations

import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from examples.guests.cache import GuestError, cached, digest, remove_unused

if TYPE_CHECKING:
    from collections.abc import Iterable

_AN_HOUR_S = 3600.0
_MAGIC = "070701"
_TRAILER = "TRAILER!!!"
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the archive: a directory, file or symbolic link."""

    mode: int
    """Type and permissions, as in ``st_mode``."""
    data: bytes = b""
    """A file's content, or a symbolic link's target."""
    source: Path | None = None
    """The file that the content is read from, instead of ``data``."""

    def content(self) -> bytes:
        """Return the content that the archive stores for this entry."""
        return self.data if self.source is None else self.source.read_bytes()

    @property
    def mtime_s(self) -> int:
        """Modification time: Python validates its compiled files against it."""
        return 0 if self.source is None else int(self.source.stat().st_mtime)

    def fingerprint(self) -> str:
        """Return a string that changes with the content, without reading big files."""
        if self.source is None:
            return f"{self.mode:o} {self.data!r}"
        status = self.source.stat()
        return f"{self.mode:o} {self.source} {status.st_size} {status.st_mtime_ns}"


class Initramfs:
    """The file system of a guest, under construction.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add_directory(self, path: str) -> None:
        """Add a directory and its parents, unless they exist."""
        if path in ("", ".", "/"):
            return
        name = path.strip("/")
        self.add_directory(str(PurePosixPath(name).parent))
        self._entries.setdefault(name, Entry(mode=stat.S_IFDIR | 0o755))

    def add_data(self, path: str, data: bytes | str, *, mode: int = 0o644) -> None:
        """Add a file with this content."""
        raw = data.encode() if isinstance(data, str) else data
        self._add(path, Entry(mode=stat.S_IFREG | mode, data=raw))

    def add_file(self, source: Path, path: str | None = None) -> None:
        """Add a file of this machine, with its permissions, at the same path."""
        permissions = stat.S_IMODE(source.stat().st_mode)
        entry = Entry(mode=stat.S_IFREG | permissions, source=source.resolve())
        self._add(path or str(source), entry)

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, Entry(mode=stat.S_IFLNK | 0o777, data=target.encode()))

    def add_program(self, source: Path, path: str | None = None) -> None:
        """Add a program and the shared libraries that it is linked with."""
        self.add_file(source, path)
        self.add_libraries([source])

    def add_libraries(self, programs: Iterable[Path]) -> None:
        """Add the shared libraries that these programs or libraries need."""
        for library in libraries_of(programs):
            self.add_file(library)

    def add_tree(
        self, source: Path, *, path: str | None = None, skip: Iterable[str] = ()
    ) -> None:
        """Add a directory of this machine, at the same path unless one is given.

        ``skip`` lists glob patterns of files and directories to leave out. Symbolic
        links are followed.
        """
        place = path or str(source)
        patterns = tuple(skip)
        for entry in sorted(source.iterdir()):
            if any(entry.match(pattern) for pattern in patterns):
                continue
            if entry.is_dir():
                self.add_tree(entry, path=f"{place}/{entry.name}", skip=patterns)
            elif entry.is_file():
                self.add_file(entry, f"{place}/{entry.name}")

    def build(self, name: str) -> Path:
        """Return the archive's path; write it unless an identical one is cached."""
        fingerprints = [
            f"{path} {entry.fingerprint()}" for path, entry in self._sorted()
        ]
        archive = cached(f"{name}-{digest(fingerprints)}.cpio", self.write)
        archive.touch()
        # Each change of a program under development adds an archive (40 to 200 MB).
        remove_unused(f"{name}-*.cpio", after_s=_AN_HOUR_S)
        return archive

    def write(self, target: Path) -> None:
        """Write the archive to the file ``target``."""
        with target.open("wb") as archive:
            for number, (path, entry) in enumerate(self._sorted(), start=1):
                archive.write(_record(number, path, entry))
            archive.write(_record(0, _TRAILER, Entry(mode=0)))

    def _add(self, path: str, entry: Entry) -> None:
        name = path.strip("/")
        self.add_directory(str(PurePosixPath(name).parent))
        self._entries[name] = entry

    def _sorted(self) -> list[tuple[str, Entry]]:
        # A directory sorts before its entries; the kernel requires that order.
        return sorted(self._entries.items())


def _record(number: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    data = entry.content()
    fields = (
        # inode, mode, uid, gid, links, mtime, size
        *(number, entry.mode, 0, 0, 1, entry.mtime_s, len(data)),
        # device and special device (major, minor each), length of name, checksum
        *(0, 0, 0, 0, len(name), 0),
    )
    header = _MAGIC + "".join(f"{field:08x}" for field in fields)
    return _padded(header.encode() + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def libraries_of(programs: Iterable[Path]) -> list[Path]:
    """Return the shared libraries that ``ldd`` lists, including the loader.

    Raises:
        GuestError: one of them is not installed.
    """
    names = [str(program) for program in programs]
    done = subprocess.run(["ldd", *names], capture_output=True, text=True, check=False)
    if "not found" in done.stdout:
        raise GuestError(
            f"missing shared libraries for {', '.join(names)}: {done.stdout}"
        )
    # A static program has none: ldd fails on it.
    return sorted({Path(found) for found in _LIBRARY.findall(done.stdout)})
