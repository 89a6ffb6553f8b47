# SPDX-License-Identifier: Apache-2.0
"""The socket of `[energy] rapl_socket`, at which QEMU reads RAPL registers.

Theory of operation: any user may connect, and the kernel says which process it is
(SO_PEERCRED). It is served if libvirt's pid file names it as the QEMU of a domain. QEMU
asks while it starts, before libvirt announces the domain, and does not start with a
zero in one of the constant registers: so these are answered to every QEMU. The counter
is that of its own domain, and 0 without permission.

As in QEMU's own helper, a question about another register ends the connection, and one
in the name of a thread of another process is answered with 0.

Source: tools/i386/qemu-vmsr-helper.c of QEMU; man 7 unix.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.control.listening_socket import UnixSocket
from orchestrator.energy.rapl import ANSWER, CONSTANTS, ENERGY_STATUS, QUESTION
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable, Container

logger = logging.getLogger(__name__)

QUESTIONS_PER_S = 64
"""QEMU asks twice a second for each package that its threads are on."""
BURST = 64
_ANY_USER = 0o666
_MOST_CONNECTIONS = 1_024
_PAUSE_S = 1.0
_PEER = struct.Struct("3i")  # struct ucred: process, user, group
_PROC = Path("/proc")


class RaplHelper:
    """Answers QEMU while a socket is configured.

    Synchronization: the asyncio thread only, except for `find_name`.
    """

    def __init__(
        self,
        *,
        read_energy: Callable[[str, int], int],
        find_name: Callable[[int], str | None],
        trusted_uids: Container[int],
    ) -> None:
        """Open nothing yet.

        Args:
            read_energy: returns the energy counter of a CPU's package, for a domain's
                name.
            find_name: returns the domain's name of a process, None: it is of none;
                called in a thread.
            trusted_uids: users that QEMU may run as.
        """
        self._read_energy = read_energy
        self._find_name = find_name
        self._trusted_uids = trusted_uids
        self._path: Path | None = None
        self._problem = ""
        self._socket: UnixSocket | None = None
        self._listener: socket.socket | None = None
        self._connections: dict[int, asyncio.Task[None]] = {}
        """By process: a further connection replaces the first."""

    def update(self, path: Path | None) -> None:
        """Listen at a path, or (None) nowhere; a problem is logged once."""
        if path != self._path:
            self.stop()
            self._path, self._problem = path, ""
        if path is None or self._listener is not None:
            return
        fix = "use a shorter one in [energy] rapl_socket"
        found = UnixSocket(path, _ANY_USER, fix=fix)
        try:
            self._listener = found.open()
        except ControlError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                logger.error("energy: %s", error)  # noqa: TRY400 - it says everything
            return
        self._socket, self._problem = found, ""
        self._watch(self._listener)
        logger.info("QEMU can read energy at %s", found.name)

    def stop(self) -> None:
        """Disconnect all and remove the socket."""
        self._path = None
        for task in self._connections.values():
            task.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        if self._socket is not None:
            self._socket.remove()
            self._socket = None

    def _watch(self, listener: socket.socket) -> None:
        if listener is self._listener:
            loop = asyncio.get_running_loop()
            loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client has gone again
        except OSError as error:
            # As without files to open: the connection waits, and is reported again.
            logger.warning("cannot accept QEMU: %s", error.strerror)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(_PAUSE_S, self._watch, listener)
            return
        sock.setblocking(False)  # noqa: FBT003 - a method of the library
        pid, uid, _ = _PEER.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        )
        is_full = len(self._connections) >= _MOST_CONNECTIONS
        if pid <= 0 or is_full or uid not in self._trusted_uids:
            logger.debug("no energy for a process pid=%d uid=%d", pid, uid)
            sock.close()
            return
        known = self._connections.pop(pid, None)
        if known is not None:
            known.cancel()
        task = asyncio.get_running_loop().create_task(self._serve(sock, pid))
        self._connections[pid] = task
        task.add_done_callback(lambda done: self._end(sock, pid, done))

    def _end(self, sock: socket.socket, pid: int, task: asyncio.Task[None]) -> None:
        sock.close()  # also if the task was cancelled before it began
        if self._connections.get(pid) is task:
            del self._connections[pid]

    async def _serve(self, sock: socket.socket, pid: int) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            name = await asyncio.to_thread(self._find_name, pid)
            if name is None:
                logger.info("refused to show energy to a process pid=%d", pid)
                return
            await self._answer_all(reader, writer, name, pid)
        except (asyncio.IncompleteReadError, OSError):
            pass  # QEMU has ended
        finally:
            writer.transport.abort()

    async def _answer_all(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        name: str,
        pid: int,
    ) -> None:
        loop, due_s = asyncio.get_running_loop(), 0.0
        while True:
            question = await reader.readexactly(QUESTION.size)
            due_s = max(due_s, loop.time() - BURST / QUESTIONS_PER_S)
            due_s += 1 / QUESTIONS_PER_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            register, pcpu, thread = QUESTION.unpack(question)
            value = CONSTANTS.get(register)
            if register == ENERGY_STATUS:
                value = self._read_energy(name, pcpu)
            if value is None:
                logger.warning("QEMU asks for register %#x domain=%s", register, name)
                return
            if not (_PROC / f"{pid}/task/{thread}").exists():
                value = 0
            writer.write(ANSWER.pack(value))
            await writer.drain()
