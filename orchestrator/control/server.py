# SPDX-License-Identifier: Apache-2.0
"""The daemon's control API on its two sockets."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from orchestrator.control import CONTROL_SOCKET, READ_ONLY_SOCKET
from orchestrator.control.deadlines import Deadlines
from orchestrator.control.listener import Listener
from orchestrator.control.listening_socket import UnixSocket, remove
from orchestrator.control.routes import Routes
from orchestrator.errors import ControlError
from orchestrator.system.lock_file import lock_private
from orchestrator.system.ownership import (
    ForeignFileError,
    create_directory,
    open_directory,
)

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.service import ControlBackend


DEADLINES = Deadlines()
LOCK = "lock"
"""Name of the lock file in the run directory."""
_FIX = "use a shorter --run-dir"


class ControlServer:
    """Serves a backend at `vmpower.sock` (0660) and `vmpower-ro.sock` (0666).

    While it runs it holds a lock on the run directory. So a socket that exists there
    at the start was left by a daemon that was killed, and can be removed safely.
    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        backend: ControlBackend,
        run_dir: Path,
        *,
        group_id: int | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        self._run_dir = run_dir
        self._lock_fd: int | None = None
        self._control = Listener(
            Routes(backend, deadlines, is_read_only=False),
            UnixSocket(run_dir / CONTROL_SOCKET, 0o660, group_id=group_id, fix=_FIX),
            deadlines,
        )
        self._read_only = Listener(
            Routes(backend, deadlines, is_read_only=True),
            UnixSocket(run_dir / READ_ONLY_SOCKET, 0o666, fix=_FIX),
            deadlines,
        )

    async def start(self) -> None:
        """Create the run directory if necessary, lock it and listen.

        Raises:
            ControlError: another daemon uses the directory (409), another user can
                change it, or it or a socket cannot be created (500).
        """
        self._lock_fd = _lock(self._run_dir)
        try:
            await self._control.start()
            await self._read_only.start()
        except ControlError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop answering and remove the sockets, within two seconds.

        Changes in progress get one second to finish.
        """
        await asyncio.gather(self._control.stop(), self._read_only.stop())
        if self._lock_fd is not None:
            remove(self._run_dir / LOCK)
            os.close(self._lock_fd)
            self._lock_fd = None


def _lock(directory: Path) -> int:
    """Return a file descriptor that holds the lock until it is closed."""
    try:
        create_directory(directory, 0o755)
        os.close(open_directory(directory))
        return lock_private(directory / LOCK)
    except BlockingIOError as error:
        raise ControlError(
            f"another vmpowerd uses the run directory {directory}",
            status=409,
            hint="stop it, or use another directory with --run-dir",
        ) from error
    except OSError as error:
        fix = error.fix if isinstance(error, ForeignFileError) else ""
        raise ControlError(
            f"cannot use run directory {directory}: {error.strerror}",
            status=500,
            hint=fix or "use another with --run-dir",
        ) from error
