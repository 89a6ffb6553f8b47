"""One enforcing daemon per CPU tree, by a lock that dies with its holder.

Theory of operation: what is locked must be the same for every daemon, wherever its run
directory is, and must not be open to everybody (see `exclusive`). Of an imitated tree
it is the marker file, which is for its owner only. In /sys there is no such file; so
one in a directory of root's stands for the tree, by device and inode. Who is not root
cannot use that directory, and hardly any file of /sys: he locks the tree's directory.

Source: flock(2); proc_locks(5).
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orchestrator.errors import SysfsError, TreeLockedError
from orchestrator.power.sysfs import MARKER
from orchestrator.system.lock_file import lock, open_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from orchestrator.power.sysfs import CpuTree

CLAIMS_DIR = Path("/run/vmpower-claims")
"""For root alone, and for all daemons of the host. What is in it is never removed: a
file per tree, until the next boot."""
_NOT_FOR_US = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_TREE = "is --sysfs-root right? 'vmpower simulate DIR --cpus 8' makes one to try"
_HINT = "stop it, run in observe mode, or use another --sysfs-root"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a claim."""

    pid: int
    name: str
    """As the kernel keeps it, 15 bytes; empty: it ended meanwhile."""

    def __str__(self) -> str:
        return f"process {self.pid}" + (f" ({self.name})" if self.name else "")


class CpuTreeClaim:
    """The right to change clocks in a CPU tree, held until `release` or our death.

    It holds whatever path leads to the tree. The descriptor is not inherited: a child
    that outlives us does not hold the tree.

    Synchronization: none; one thread acquires and releases.
    """

    def __init__(self, tree: CpuTree, *, claims_dir: Path = CLAIMS_DIR) -> None:
        self._tree = tree
        self._claims_dir = claims_dir
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the tree."""
        return self._fd is not None

    def acquire(self) -> None:
        """Claim the tree; does nothing if this object holds it already.

        Raises:
            TreeLockedError: another one holds it; the message names its process if the
                kernel shows it.
            SysfsError: there is no CPU tree.
        """
        if self._fd is not None:
            return
        try:
            fd = self._open()
        except OSError as error:
            refusal = SysfsError(str(error.filename), error.errno or errno.EIO, "open")
            refusal.hint = _NO_TREE
            raise refusal from error
        try:
            lock(fd)
        except OSError as error:
            os.close(fd)
            holder = (
                find_holder(self._tree, claims_dir=self._claims_dir)
                or "another process"
            )
            raise TreeLockedError(
                f"{self._tree.cpu_dir} is claimed by {holder}", hint=_HINT
            ) from error
        self._fd = fd

    def _open(self) -> int:
        directory = self._tree.cpu_dir
        if self._tree.is_simulated:
            return os.open(self._tree.root / MARKER, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._claims_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            return open_private(_file_of(self._tree, self._claims_dir))
        except OSError as error:
            if error.errno not in _NOT_FOR_US:
                raise
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def release(self) -> None:
        """Give the tree back; does nothing if it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def find_holder(
    tree: CpuTree, *, claims_dir: Path = CLAIMS_DIR, proc: Path = Path("/proc")
) -> Holder | None:
    """Say which process enforces on a CPU tree, without touching its claim.

    Who is not root does not see the claims of root's daemons. Processes of other PID
    namespaces are not shown, and stacked file systems print another device number than
    stat does.

    Returns:
        None: nobody does, or the kernel does not show it.
    """
    try:
        lines = (proc / "locks").read_text(encoding="ascii").splitlines()
        files = set(_lockable(tree, claims_dir))
    except OSError:
        return None
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 1234 00:15:4242 0 EOF
        match line.split():
            case [_, "FLOCK", _, _, pid, where, *_] if where in files and int(pid) > 0:
                return Holder(int(pid), _name_of(int(pid), proc))
    return None


def _lockable(tree: CpuTree, claims_dir: Path) -> Iterator[str]:
    """Give what a claim may have locked, as the kernel names it."""
    for path in (tree.root / MARKER, _file_of(tree, claims_dir), tree.cpu_dir):
        with suppress(OSError):
            status = path.stat()
            device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
            yield f"{device}:{status.st_ino}"


def _file_of(tree: CpuTree, claims_dir: Path) -> Path:
    """Name the file that stands for a tree.

    Raises:
        OSError: there is no such tree.
    """
    status = tree.cpu_dir.stat()
    return claims_dir / f"{status.st_dev}-{status.st_ino}"


def _name_of(pid: int, proc: Path) -> str:
    try:
        return (proc / str(pid) / "comm").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
