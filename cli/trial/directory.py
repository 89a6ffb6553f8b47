# SPDX-License-Identifier: Apache-2.0
"""The directory of a trial: one at a time, and empty at the beginning.

The processes of a trial inherit the lock. So it is free only when all of them have
ended, however they have, and what is in the directory then belongs to none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING, Self

from cli.trial.errors import TrialError
from cli.trial.places import run_dir_of
from orchestrator.system.lock_file import lock_private
from orchestrator.system.ownership import (
    ForeignFileError,
    create_directory,
    open_directory,
)

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_LOCK = "lock"
_PATIENCE_S = 5.0
"""How long the processes of a killed trial may take to end."""
_POLL_S = 0.1


class TrialDirectory:
    """Locked and emptied when entered, removed when left.

    Synchronization: one thread.
    """

    def __init__(self, path: Path, *, patience_s: float = _PATIENCE_S) -> None:
        """Touch nothing yet.

        Args:
            path: of the directory; what is in it is removed.
            patience_s: how long it may be in use when it is entered.
        """
        self.path = path
        self._patience_s = patience_s
        self.lock_fd = -1
        """To be inherited by every process that uses the directory."""

    def __enter__(self) -> Self:
        """Lock the directory and remove what a killed trial left in it.

        Raises:
            TrialError: it is in use, or cannot be used.
        """
        try:
            create_directory(self.path, 0o700)
            os.close(open_directory(self.path))
            self.lock_fd = self._lock()
            self._clear()
        except ForeignFileError as error:
            raise TrialError(str(error.args[1]), hint=error.fix) from error
        except OSError as error:
            raise TrialError(
                f"cannot use {self.path}: {error.strerror}",
                hint="set TMPDIR to a directory that you may write",
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The lock goes last: until then the directory is in use.
        with contextlib.suppress(OSError):
            self._clear()
            (self.path / _LOCK).unlink()
            self.path.rmdir()
        os.close(self.lock_fd)

    def _lock(self) -> int:
        deadline_s = time.monotonic() + self._patience_s
        while True:
            try:
                return lock_private(self.path / _LOCK)
            except BlockingIOError as error:
                if time.monotonic() > deadline_s:
                    raise TrialError(
                        "'vmpower try' is already running",
                        hint=f"export VMPOWER_RUN_DIR={run_dir_of(self.path)}",
                    ) from error
            time.sleep(_POLL_S)

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.name == _LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
