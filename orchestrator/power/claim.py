"""One enforcing daemon per CPU tree, by a lock that dies with its holder.

Source: flock(2); proc_locks(5).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orchestrator.errors import ClaimError, SysfsError

if TYPE_CHECKING:
    from types import TracebackType

    from orchestrator.power.sysfs import CpuTree

_HINT = "stop it, run in observe mode, or use another --sysfs-root"


class CpuTreeClaim:
    """The right to change clocks in a CPU tree, held until `release` or our death.

    The lock is on the directory itself, so that it holds whatever path leads there.
    The descriptor is not inherited: a child that outlives us does not hold the tree.

    Synchronization: none; one thread acquires and releases.
    """

    def __init__(self, tree: CpuTree) -> None:
        self._directory = tree.cpu_dir
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the tree."""
        return self._fd is not None

    def acquire(self) -> None:
        """Claim the tree; does nothing if this object holds it already.

        Raises:
            ClaimError: another one holds it; the message names its process if the
                kernel shows it.
            SysfsError: there is no CPU tree.
        """
        if self._fd is not None:
            return
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            path = str(self._directory)
            raise SysfsError(path, error.errno or 0, "open") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _describe_holder(fd)
            os.close(fd)
            raise ClaimError(
                f"{self._directory} is claimed by {holder}", hint=_HINT
            ) from error
        self._fd = fd

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


def _describe_holder(fd: int) -> str:
    pid = _find_holder(fd)
    if pid is None:
        return "another process"
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return f"process {pid}"
    return f"process {pid} ({name})"


def _find_holder(fd: int) -> int | None:
    """Look the lock's process up; None where the kernel does not show it.

    Processes of other PID namespaces are not shown, and stacked file systems print
    another device number than stat does.
    """
    status = os.fstat(fd)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    file = f"{device}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 1234 00:15:4242 0 EOF
        match line.split():
            case [_, "FLOCK", _, _, pid, where, *_] if where == file and int(pid) > 0:
                return int(pid)
    return None
