# SPDX-License-Identifier: Apache-2.0
"""FIFOs `fifo<N>`, one for each host CPU, like those of DPDK's vm_power_manager.

Theory of operation: a FIFO is opened for reading and writing, so that it does not end
with its writer. A message that is not completed within `COMPLETE_WITHIN_S` is dropped,
so that it does not swallow the next one. A FIFO has no way to answer the writer: the
outcome of a message is in the event stream and in the log.

The directory must not be writable for everyone: any user who can create a FIFO in it,
or rename one, could act as the operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.operations.dpdk.json_messages import MessageSplitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

FIFO_MODE = 0o660
COMPLETE_WITHIN_S = 2.0
"""A script writes a message without a pause."""
_READ_BYTES = 65_536


class Fifo:
    """One FIFO.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, path: Path, cpu: int, execute: Callable[[str | ConfigError, int], None]
    ) -> None:
        """Create it, or open an existing one, and start reading.

        Raises:
            ConfigError: it cannot be created, or another file has its name.
        """
        self._path = path
        self._cpu = cpu
        self._execute = execute
        self._splitter = MessageSplitter()
        self._timer: asyncio.TimerHandle | None = None
        self._fd = _open(path)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def is_lost(self) -> bool:
        """Return whether its name is gone, so that it cannot be written to any more."""
        return not os.path.lexists(self._path)

    def close(self) -> None:
        """Stop reading and remove it."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        # A changed name must not prevent a clean exit.
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        for message in self._splitter.feed(data):
            self._execute(message, self._cpu)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._splitter.is_waiting:
            self._timer = self._loop.call_later(
                COMPLETE_WITHIN_S, self._drop_incomplete
            )

    def _drop_incomplete(self) -> None:
        self._timer = None
        self._splitter.drop()
        self._execute(ConfigError("incomplete message"), self._cpu)


class Fifos:
    """The FIFOs of all CPUs whose frequency can be set.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, directory: Path, execute: Callable[[str | ConfigError, int], None]
    ) -> None:
        """Create nothing yet."""
        self._directory = directory
        self._execute = execute
        self._open: dict[int, Fifo] = {}
        self.problem = ""
        """Why FIFOs are missing; empty if none is."""

    def keep(self, cpus: Iterable[int]) -> None:
        """Provide FIFOs for exactly these CPUs; recreate those that were removed.

        Raises:
            ConfigError: the directory or a FIFO cannot be used.
        """
        try:
            self._keep(cpus)
        except ConfigError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.problem = f"FIFOs are missing: {error}{hint}"
            raise
        self.problem = ""

    def _keep(self, cpus: Iterable[int]) -> None:
        wanted = set(cpus)
        lost = {cpu for cpu, fifo in self._open.items() if fifo.is_lost()}
        for cpu in (self._open.keys() - wanted) | lost:
            self._open.pop(cpu).close()
        new = sorted(wanted - self._open.keys())
        if new:
            _check_directory(self._directory)
        for cpu in new:
            self._open[cpu] = Fifo(self._directory / f"fifo{cpu}", cpu, self._execute)

    def close(self) -> None:
        """Remove all of them."""
        while self._open:
            self._open.popitem()[1].close()


def _check_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o750, exist_ok=True)
        mode = directory.stat().st_mode
    except OSError as error:
        raise ConfigError(
            f"cannot create FIFO directory {directory}: {error.strerror}"
        ) from error
    if mode & stat.S_IWOTH:
        raise ConfigError(
            f"FIFO directory {directory} is world-writable",
            hint=f"chmod o-w {directory}",
        )


def _open(path: Path) -> int:
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, FIFO_MODE)
            path.chmod(FIFO_MODE)  # regardless of the umask
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags)
    except OSError as error:
        raise ConfigError(f"cannot create FIFO {path}: {error.strerror}") from error
    found = os.fstat(fd)
    if not stat.S_ISFIFO(found.st_mode) or found.st_uid not in (0, os.geteuid()):
        os.close(fd)
        raise ConfigError(
            f"{path} is not a FIFO of this user or root", hint=f"remove {path}"
        )
    return fd
