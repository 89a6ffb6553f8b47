# SPDX-License-Identifier: Apache-2.0
"""A lock that admits one enforcing daemon per CPU tree, released when its holder dies.

Theory of operation: all daemons must lock the same file, wherever their run directories
are, and it must not be accessible to everyone (see `system.lock_file`). For a simulated
tree it is the marker file, which only its owner may open. /sys has no such file; so a
file in a directory of root's represents the tree, named by device and inode. A daemon
that is not root can use neither; it locks the directory of the tree.

A daemon that was killed leaves its monitor process behind, which restores the tree, and
may do so late: it may have been stopped or frozen. So each monitor is a user of the
lock file (see `system.lock_file`), and the next holder of the lock waits for it, or
ends it.

Source: flock(2); proc_locks(5).
"""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orchestrator.errors import SysfsError, TreeLockedError
from orchestrator.power.sysfs import MARKER
from orchestrator.system.lock_file import find_user, lock, open_private
from orchestrator.system.ownership import (
    ForeignFileError,
    create_directory,
    open_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from orchestrator.power.sysfs import CpuTree

logger = logging.getLogger(__name__)

RESTORE_TIMEOUT_S = 3.0
"""How long the monitor of a daemon that was killed may take to restore the tree: 0.14 s
at most on an idle machine, 2 s on a busy one (measured)."""
KILL_TIMEOUT_S = 2.0
LOCK_DIR = Path("/run/vmpower-claims")
"""For root only, and for all daemons of the host. Its files, one per tree, are never
removed before the next boot."""
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_TREE = (
    "check --sysfs-root; 'vmpower simulate DIR --cpus 8' creates a tree for testing"
)
_HINT = "stop it, use observe mode, or use another --sysfs-root"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    name: str
    """The kernel's name of it, up to 15 bytes; empty: it has ended."""

    def __str__(self) -> str:
        return f"process {self.pid}" + (f" ({self.name})" if self.name else "")


class CpuTreeLock:
    """The exclusive right to set frequencies in a CPU tree.

    It applies to the tree by whatever path, and ends with `release` or with the
    process. The descriptor is not inherited, so a child that outlives the process does
    not hold the lock; the monitor process gets one of its own, see `open_for_monitor`.

    Synchronization: none; one thread acquires and releases.
    """

    def __init__(
        self,
        tree: CpuTree,
        *,
        lock_dir: Path = LOCK_DIR,
        restore_timeout_s: float = RESTORE_TIMEOUT_S,
    ) -> None:
        self._tree = tree
        self._lock_dir = lock_dir
        self._restore_timeout_s = restore_timeout_s
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire(self) -> None:
        """Lock the tree; does nothing if this object holds the lock already.

        The monitor of a daemon that was killed is given time to restore the tree, and
        then killed, so that it writes nothing afterwards; what it has not restored is
        in the journal. This blocks for some seconds at most.

        Raises:
            TreeLockedError: another process holds it, or such a monitor cannot be
                ended; the message names the process if the kernel shows it.
            SysfsError: no such CPU tree.
        """
        if self._fd is not None:
            return
        fd = self._open_tree()
        try:
            self._lock(fd)
            self._outlast_monitor(fd)
        except TreeLockedError:
            os.close(fd)
            raise
        self._fd = fd

    def open_for_monitor(self) -> int:
        """Open the lock file for a monitor process, to be passed to `lock_file.use`.

        Raises:
            SysfsError: no such CPU tree.
        """
        return self._open_tree()

    def _open_tree(self) -> int:
        try:
            return self._open()
        except OSError as error:
            refusal = SysfsError(str(error.filename), error.errno or errno.EIO, "open")
            refusal.hint = _NO_TREE
            if isinstance(error, ForeignFileError):
                refusal.hint = f"{error.strerror}; {error.fix}"
            raise refusal from error

    def _lock(self, fd: int) -> None:
        try:
            lock(fd)
        except OSError as error:
            holder = (
                find_holder(self._tree, lock_dir=self._lock_dir) or "another process"
            )
            raise TreeLockedError(
                f"{self._tree.cpu_dir} is locked by {holder}", hint=_HINT
            ) from error

    def _outlast_monitor(self, fd: int) -> None:
        """Wait until the monitor of a killed daemon has ended; kill one that hangs."""
        pid = find_user(fd)
        if pid is None:
            return
        if not (pid and _end_user(fd, pid, self._restore_timeout_s)):
            which = f"process {pid}" if pid else "a process of another PID namespace"
            raise TreeLockedError(
                f"{self._tree.cpu_dir} is still used by the monitor of a daemon that"
                f" was killed: {which}",
                hint="end it; the originals are in the journal of that daemon",
            )

    def _open(self) -> int:
        directory = self._tree.cpu_dir
        if self._tree.is_simulated:
            return os.open(self._tree.root / MARKER, os.O_RDONLY | os.O_CLOEXEC)
        try:
            create_directory(self._lock_dir, 0o700)
            os.close(open_directory(self._lock_dir))
            return open_private(_file_of(self._tree, self._lock_dir))
        except ForeignFileError:
            raise
        except OSError as error:
            if error.errno not in _DENIED:
                raise
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
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


def _end_user(fd: int, pid: int, timeout_s: float) -> bool:
    """Wait for a user of a file, and kill it if it takes longer than that.

    Returns:
        Whether it has ended.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return find_user(fd) is None
    try:
        # Only now is it certain that the descriptor is of that process: the first one
        # of this number may have ended before.
        if find_user(fd) != pid:
            return find_user(fd) is None
        logger.info("waiting for the monitor of a daemon that was killed pid=%d", pid)
        if not _has_ended(pidfd, timeout_s):
            logger.warning(
                "killing the monitor of a daemon that was killed pid=%d", pid
            )
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return _has_ended(pidfd, KILL_TIMEOUT_S)
    except PermissionError:
        return False
    finally:
        os.close(pidfd)
    return True


def _has_ended(pidfd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(round(timeout_s * 1_000)))


def find_holder(
    tree: CpuTree, *, lock_dir: Path = LOCK_DIR, proc: Path = Path("/proc")
) -> Holder | None:
    """Find the process that holds the lock of a CPU tree, without locking it.

    Only root sees the locks of root's daemons. Processes of other PID namespaces are
    not shown, and for stacked file systems the kernel prints another device number than
    stat reports.

    Returns:
        None: no process, or the kernel does not show it.
    """
    try:
        lines = (proc / "locks").read_text(encoding="ascii").splitlines()
        files = set(_lockable(tree, lock_dir))
    except OSError:
        return None
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 1234 00:15:4242 0 EOF
        match line.split():
            case [_, "FLOCK", _, _, pid, where, *_] if where in files and int(pid) > 0:
                return Holder(int(pid), _name_of(int(pid), proc))
    return None


def _lockable(tree: CpuTree, lock_dir: Path) -> Iterator[str]:
    """Yield the files that may be locked for a tree, as /proc/locks names them."""
    for path in (tree.root / MARKER, _file_of(tree, lock_dir), tree.cpu_dir):
        with suppress(OSError):
            status = path.stat()
            device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
            yield f"{device}:{status.st_ino}"


def _file_of(tree: CpuTree, lock_dir: Path) -> Path:
    """Return the lock file of a tree in root's directory.

    Raises:
        OSError: no such tree.
    """
    status = tree.cpu_dir.stat()
    return lock_dir / f"{status.st_dev}-{status.st_ino}"


def _name_of(pid: int, proc: Path) -> str:
    try:
        return (proc / str(pid) / "comm").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
