"""What a daemon has, or had, in its run directory."""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from orchestrator.control import CONTROL_SOCKET, READ_ONLY_SOCKET
from orchestrator.errors import JournalError
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.sysfs import CpuTree

if TYPE_CHECKING:
    from pathlib import Path

    from cli.doctor.places import Places

_PATIENCE_S = 1.0
_CREDENTIALS = struct.Struct("3i")


class Answer(Enum):
    """What becomes of a connect to a socket."""

    ABSENT = "absent"
    """There is no such file."""
    OPEN = "open"
    """Somebody listens."""
    STALE = "stale"
    """Nobody listens any more."""
    DENIED = "denied"
    """Not for us."""
    NO_SOCKET = "no socket"
    """Something else has its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketFile:
    """One of the daemon's sockets."""

    path: Path
    answer: Answer
    mode: int = 0
    gid: int = 0
    listener_pid: int | None = None
    """Who listens, by the kernel's word; None: nobody, or it is not for us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The run directory."""

    run_dir: Path
    exists: bool
    mode: int
    control: SocketFile
    reading: SocketFile
    journal: Path
    journalled: tuple[int, ...]
    """Clock groups whose originals are journalled."""
    journal_problem: str
    """Why it cannot be read or is not of this tree and boot; empty if it is."""
    is_journal_hidden: bool
    """Whether there may be one that only root may read."""

    @property
    def owner_pid(self) -> int | None:
        """Return the process that listens; None: nobody does."""
        return self.reading.listener_pid or self.control.listener_pid


def read_service(places: Places) -> Service:
    """Look into the run directory; the sockets are connected to and left again."""
    directory = places.run_dir
    mode = _mode(directory)
    journal = directory / JOURNAL_NAME
    try:
        tree = CpuTree(places.cpu_root)
        journalled, problem = tuple(sorted(Journal(journal, tree).read())), ""
        is_hidden = False
    except JournalError as error:
        journalled, problem = (), str(error)
        is_hidden = isinstance(error.__cause__, PermissionError)
    return Service(
        run_dir=directory,
        exists=mode is not None,
        mode=mode or 0,
        control=_look(directory / CONTROL_SOCKET),
        reading=_look(places.socket or directory / READ_ONLY_SOCKET),
        journal=journal,
        journalled=journalled,
        journal_problem=problem,
        is_journal_hidden=is_hidden,
    )


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _look(path: Path) -> SocketFile:
    try:
        about = path.stat()
    except OSError as error:
        is_denied = isinstance(error, PermissionError)
        answer = Answer.DENIED if is_denied else Answer.ABSENT
        return SocketFile(path=path, answer=answer)
    answer, pid = Answer.NO_SOCKET, None
    if stat.S_ISSOCK(about.st_mode):
        answer, pid = _try(path)
    mode = stat.S_IMODE(about.st_mode)
    return SocketFile(
        path=path, answer=answer, mode=mode, gid=about.st_gid, listener_pid=pid
    )


def _try(path: Path) -> tuple[Answer, int | None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_PATIENCE_S)
        try:
            sock.connect(os.fspath(path))
        except PermissionError:
            return Answer.DENIED, None
        except OSError:
            return Answer.STALE, None
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _leave(sock)
    return Answer.OPEN, _CREDENTIALS.unpack(raw)[0] or None


def _leave(sock: socket.socket) -> None:
    """Hang up and see it noticed, so that the daemon is not left with half a visit."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
