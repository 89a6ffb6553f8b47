"""FIFOs `fifo<N>`, one for each host CPU, as DPDK's vm_power_manager has them.

Theory of operation: a FIFO is opened for reading and writing, so that a writer that
ends is no end. What is not completed within `COMPLETE_WITHIN_S` is dropped, so that
half a message cannot swallow the next. There is no way to answer a writer: what came of
its messages is in the event stream and in the log.

The directory must not be open to everybody: whoever can make a FIFO in it, or rename
one, would speak for the operator.
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
"""A script that writes a message does so at once."""
_READ_BYTES = 65_536


class Fifo:
    """One FIFO.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, path: Path, cpu: int, obey: Callable[[str | ConfigError, int], None]
    ) -> None:
        """Make it, or take one of ours that is there, and listen.

        Raises:
            ConfigError: it cannot be made, or something else is there.
        """
        self._path = path
        self._cpu = cpu
        self._obey = obey
        self._splitter = MessageSplitter()
        self._timer: asyncio.TimerHandle | None = None
        self._fd = _open(path)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def is_lost(self) -> bool:
        """Say whether nothing has its name any more, so that nobody can write to it."""
        return not os.path.lexists(self._path)

    def close(self) -> None:
        """Stop listening and remove it."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        # What somebody did to its name meanwhile must not keep us from ending.
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        for message in self._splitter.feed(data):
            self._obey(message, self._cpu)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._splitter.is_waiting:
            self._timer = self._loop.call_later(COMPLETE_WITHIN_S, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        self._splitter.drop()
        self._obey(ConfigError("the message was never completed"), self._cpu)


class Fifos:
    """The FIFOs of all CPUs whose clock can be set.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, directory: Path, obey: Callable[[str | ConfigError, int], None]
    ) -> None:
        """Make nothing yet."""
        self._directory = directory
        self._obey = obey
        self._open: dict[int, Fifo] = {}

    def keep(self, cpus: Iterable[int]) -> None:
        """Have FIFOs for just these CPUs; those that somebody removed are made anew.

        Raises:
            ConfigError: the directory or a FIFO cannot be used.
        """
        wanted = set(cpus)
        lost = {cpu for cpu, fifo in self._open.items() if fifo.is_lost()}
        for cpu in (self._open.keys() - wanted) | lost:
            self._open.pop(cpu).close()
        new = sorted(wanted - self._open.keys())
        if new:
            _check_directory(self._directory)
        for cpu in new:
            self._open[cpu] = Fifo(self._directory / f"fifo{cpu}", cpu, self._obey)

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
            f"no directory for FIFOs at {directory}: {error.strerror}"
        ) from error
    if mode & stat.S_IWOTH:
        raise ConfigError(
            f"everybody may write in {directory}: no FIFOs there",
            hint=f"chmod o-w {directory}",
        )


def _open(path: Path) -> int:
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, FIFO_MODE)
            path.chmod(FIFO_MODE)  # whatever the umask is
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags)
    except OSError as error:
        raise ConfigError(f"no FIFO at {path}: {error.strerror}") from error
    found = os.fstat(fd)
    if not stat.S_ISFIFO(found.st_mode) or found.st_uid not in (0, os.geteuid()):
        os.close(fd)
        raise ConfigError(f"{path} is no FIFO of ours", hint=f"remove {path}")
    return fd
