# SPDX-License-Identifier: Apache-2.0
"""The run directory of the daemon: its sockets and its restore journal."""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.control import CONTROL_SOCKET, READ_ONLY_SOCKET
from orchestrator.errors import JournalError
from orchestrator.power.attribute_journal import (
    ATTRIBUTE_JOURNAL_NAME,
    AttributeJournal,
)
from orchestrator.power.attribute_kinds import name_attributes
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.limit_journal import LIMIT_JOURNAL_NAME, LimitJournal
from orchestrator.power.sysfs import CpuTree
from orchestrator.system.ownership import ForeignFileError
from orchestrator.system.service_unit import has_unit, runs_in_unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.doctor.target import Target
    from orchestrator.power.group import Original

_TIMEOUT_S = 1.0
_CREDENTIALS = struct.Struct("3i")


class SocketState(Enum):
    """The result of connecting to a socket."""

    ABSENT = "absent"
    """There is no such file."""
    OPEN = "open"
    """A process listens on it."""
    STALE = "stale"
    """No process listens on it any more."""
    DENIED = "denied"
    """Permission denied."""
    NO_SOCKET = "no socket"
    """The file is not a socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketFile:
    """One of the daemon's sockets."""

    path: Path
    state: SocketState
    mode: int = 0
    gid: int = 0
    listener_pid: int | None = None
    """The process that listens, from the kernel; None: none, or permission denied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFile:
    """A restore journal, which need not exist."""

    path: Path
    originals: str = ""
    """What it can restore, for people; empty: nothing."""
    problem: str = ""
    """Why it is unreadable, or of another tree or boot; empty: it is valid."""
    is_hidden: bool = False
    """Whether there may be one that this user cannot read, or that is refused."""
    refusal: str = ""
    """Why vmpowerd refuses it; empty: it does not."""
    refusal_fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The run directory and what is in it."""

    run_dir: Path
    exists: bool
    mode: int
    control: SocketFile
    reading: SocketFile
    journals: tuple[JournalFile, ...]
    """Of governors, of limits, and of held attributes."""
    refusal: str = ""
    """Why vmpowerd refuses the directory or a journal; empty: it does not."""
    refusal_fix: str = ""
    is_unit: bool = False
    """Whether systemd runs the daemon; of none that runs, whether it has a unit."""

    @property
    def owner_pid(self) -> int | None:
        """Return the process that listens; None: none does."""
        return self.reading.listener_pid or self.control.listener_pid


def read_service(target: Target) -> Service:
    """Read the run directory, and connect to the sockets for a moment."""
    directory = target.run_dir
    mode = _mode(directory)
    tree = CpuTree(target.cpu_root)
    kinds: tuple[tuple[type[Journal], str], ...] = (
        (Journal, JOURNAL_NAME),
        (LimitJournal, LIMIT_JOURNAL_NAME),
        (AttributeJournal, ATTRIBUTE_JOURNAL_NAME),
    )
    journals = tuple(_read_journal(kind, directory / it, tree) for kind, it in kinds)
    refused = next((journal for journal in journals if journal.refusal), None)
    service = Service(
        run_dir=directory,
        exists=mode is not None,
        mode=mode or 0,
        control=_probe(directory / CONTROL_SOCKET),
        reading=_probe(target.socket or directory / READ_ONLY_SOCKET),
        journals=journals,
        refusal=refused.refusal if refused else "",
        refusal_fix=refused.refusal_fix if refused else "",
    )
    return replace(service, is_unit=_is_unit(service.owner_pid))


def _is_unit(pid: int | None) -> bool:
    if pid is None:
        return has_unit()
    try:
        return runs_in_unit(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
    except OSError:
        return has_unit()


def _read_journal(kind: type[Journal], path: Path, tree: CpuTree) -> JournalFile:
    try:
        found = kind(path, tree).read()
        return JournalFile(path=path, originals=_name_originals(kind, found))
    except JournalError as error:
        cause, refusal, fix = error.__cause__, "", ""
        if isinstance(cause, ForeignFileError):
            refusal, fix = str(cause.strerror), cause.fix
        return JournalFile(
            path=path,
            problem=str(error),
            is_hidden=isinstance(cause, PermissionError | ForeignFileError),
            refusal=refusal,
            refusal_fix=fix,
        )


def _name_originals(
    kind: type[Journal], found: Mapping[int, tuple[Original, ...]]
) -> str:
    if kind is AttributeJournal:
        return name_attributes({it.path for each in found.values() for it in each})
    return f"clock groups {', '.join(map(str, sorted(found)))}" if found else ""


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _probe(path: Path) -> SocketFile:
    try:
        about = path.stat()
    except OSError as error:
        is_denied = isinstance(error, PermissionError)
        state = SocketState.DENIED if is_denied else SocketState.ABSENT
        return SocketFile(path=path, state=state)
    state, pid = SocketState.NO_SOCKET, None
    if stat.S_ISSOCK(about.st_mode):
        state, pid = _connect(path)
    mode = stat.S_IMODE(about.st_mode)
    return SocketFile(
        path=path, state=state, mode=mode, gid=about.st_gid, listener_pid=pid
    )


def _connect(path: Path) -> tuple[SocketState, int | None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_TIMEOUT_S)
        try:
            sock.connect(os.fspath(path))
        except PermissionError:
            return SocketState.DENIED, None
        except OSError:
            return SocketState.STALE, None
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _disconnect(sock)
    return SocketState.OPEN, _CREDENTIALS.unpack(raw)[0] or None


def _disconnect(sock: socket.socket) -> None:
    """Close in order, so that the daemon does not see a broken connection."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
