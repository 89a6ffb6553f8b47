# SPDX-License-Identifier: Apache-2.0
"""A guest that runs shell commands for a test, one after the other.

Usage::

    guest = host.start(shell_guest("g", {"/program.py": text}, vcpus=2))
    with GuestShell(guest) as shell:
        shell.run("python3 /program.py")        # -> (exit status, what it printed)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, Self

from examples.guests.images import build_python_image
from tests.rig.guest import GuestSpec
from tests.rig.talker import RIG_TARGET
from tests.rig.waiting import GUEST_DEADLINE_S, connect, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from tests.rig.guest import Guest

# A port can be opened once, and is at its end while no host is connected.
SHELL_WORK = f"""\
port=/dev/virtio-ports/{RIG_TARGET}
until [ -e $port ]; do usleep 20000; /bin/name-ports; done
echo shell: ready
while :; do sh 0<>$port 1>&0 2>&1; usleep 50000; done
"""
"""What a guest runs to serve a shell, see `examples.guests.images.start_image`."""
_END = "=status="
_PROBE = "=probe="
_PROBE_S = 2.0
"""How long a guest that is ready takes to answer; a slower one is asked again."""


def shell_guest(
    name: str,
    files: Mapping[str, Path | str],
    *,
    channels: tuple[int, ...] = (0,),
    pins: Mapping[int, str],
) -> GuestSpec:
    """Describe a guest with Debian's Python, these files, and a remote shell."""
    return GuestSpec(
        name=name,
        channels=channels,
        vcpus=len(pins),
        pins=pins,
        memory_mib=384,
        image=build_python_image(files, SHELL_WORK),
    )


class Ran(NamedTuple):
    """The outcome of a command."""

    status: int
    printed: str
    """Standard output and standard error."""


class GuestShell:
    """A connection to the shell in one guest.

    Synchronization: one thread.
    """

    def __init__(self, guest: Guest, *, is_ready: bool = False) -> None:
        """Connect.

        Args:
            guest: which.
            is_ready: whether it has booted, and may have another console since.
        """
        self._guest = guest
        self._is_ready = is_ready
        self._socket = connect(guest._rig_path)
        if is_ready:
            self._wait_for_answer()
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._socket.close()

    def run(self, command: str, *, timeout_s: float = GUEST_DEADLINE_S) -> Ran:
        """Run a command and wait for its end.

        Raises:
            TimeoutError: it took longer.
        """
        if not self._is_ready:
            self._guest.console.wait_for("shell: ready")
        self._socket.settimeout(timeout_s)
        ask = f"{command}\nstatus=$?; echo; echo {_END}$status\n"
        self._socket.sendall(ask.encode())
        printed: list[str] = []
        for line in self._lines:
            text = line.decode(errors="replace")
            if text.startswith(_PROBE):
                continue
            if text.startswith(_END):
                return Ran(int(text[len(_END) :]), "".join(printed).removesuffix("\n"))
            printed.append(text)
        raise ConnectionError(f"{command}: the guest is gone; it printed: {printed}")

    def _wait_for_answer(self) -> None:
        """Wait until a shell reads this connection.

        The one of the connection before ends now, and what it had not read is lost.
        """
        self._socket.settimeout(_PROBE_S)
        lines = b""

        def is_answered() -> bool:
            nonlocal lines
            self._socket.sendall(f"echo {_PROBE}\n".encode())
            with contextlib.suppress(TimeoutError):
                lines += self._socket.recv(4096)
            return lines.endswith(f"{_PROBE}\n".encode())

        wait_for(is_answered, "an answer of the shell", timeout_s=GUEST_DEADLINE_S)

    def start(self, command: str, log: str) -> None:
        """Start a program in the background; its output goes to a file.

        The file is empty when this returns: the shell may start the program later, and
        output of an earlier one would be taken for its own.
        """
        self.run(f": >{log}; {command} >>{log} 2>&1 </dev/null & echo $! >{log}.pid")

    def stop(self, log: str) -> None:
        """End (SIGTERM) the program whose output goes to a file."""
        self.run(f"kill $(cat {log}.pid)")
