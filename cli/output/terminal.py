# SPDX-License-Identifier: Apache-2.0
"""The terminal of a full-screen program: its screen, keyboard and signals.

Everything is restored when the program leaves, stops (Ctrl-Z) or fails.

Source: termios(3), signal(7) on job control; Python's `signal.set_wakeup_fd`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from rich.live import Live

from cli.output.keys import ESCAPE, Special, decode_keys

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from rich.console import Console

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HANDLED: Final = (*_ENDING, signal.SIGTSTP, signal.SIGWINCH)
_REST_OF_SEQUENCE_S: Final = 0.05
"""How long the rest of an escape sequence may take on a slow line."""
_SIGNALLED: Final = 128
HUNG_UP: Final = _SIGNALLED + signal.SIGHUP
"""Exit status of a program whose terminal was closed."""


def full_screen(console: Console) -> Live:
    """Return the terminal's alternate screen; leaving it restores the contents."""
    return Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalEvent:
    """What ended a wait."""

    keys: tuple[str, ...] = ()
    is_woken: bool = False
    """Whether `Terminal.wake` was called."""
    is_resized: bool = False
    is_stopping: bool = False
    """Ctrl-Z: leave the full screen, call `Terminal.stop_process`, then redraw."""
    status: int | None = None
    """The exit status, if a signal ends the program or the terminal was closed."""


class Terminal:
    """Reads keys without echo and turns signals into events.

    On exit, the terminal's settings and the signal handlers are restored.
    Synchronization: the main thread; `wake` may be called from any thread.
    """

    def __init__(self) -> None:
        self._stdin = sys.stdin.fileno()
        self._saved: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._wakeup_fd = -1
        self._reading, self._writing = -1, -1

    def __enter__(self) -> Self:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_fd = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in _HANDLED:
            self._handlers[number] = signal.signal(number, _ignore)
        self._saved = termios.tcgetattr(self._stdin)
        tty.setcbreak(self._stdin, termios.TCSANOW)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_fd)
        os.close(self._reading)
        os.close(self._writing)

    def wake(self) -> None:
        """End a wait; does nothing after the terminal was closed."""
        with contextlib.suppress(OSError):
            os.write(self._writing, b"\0")

    def wait(self, timeout_s: float | None = None) -> TerminalEvent:
        """Wait for a key, a signal, or `wake`."""
        ready, _, _ = select.select([self._stdin, self._reading], [], [], timeout_s)
        woken = os.read(self._reading, 4_096) if self._reading in ready else b""
        signals = set(woken)
        ending = next((n for n in _ENDING if n in signals), None)
        status = None if ending is None else _SIGNALLED + ending
        keys: tuple[str, ...] = ()
        if self._stdin in ready:
            data = self._read()
            keys = tuple(decode_keys(data))
            # End of input: the terminal was closed.
            status = status or (None if data else HUNG_UP)
        return TerminalEvent(
            keys=keys,
            is_woken=0 in signals,
            is_resized=signal.SIGWINCH in signals,
            is_stopping=signal.SIGTSTP in signals,
            status=status,
        )

    def stop_process(self) -> None:
        """Restore the terminal and stop the process; returns when it is continued."""
        self._restore()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _ignore)
        tty.setcbreak(self._stdin, termios.TCSANOW)

    def _restore(self) -> None:
        if self._saved:
            # A closed terminal has no settings to restore.
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._stdin, termios.TCSANOW, self._saved)

    def _read(self) -> bytes:
        try:
            data = os.read(self._stdin, 1_024)
            if data.endswith(ESCAPE) or Special.UNKNOWN in decode_keys(data):
                more, _, _ = select.select([self._stdin], [], [], _REST_OF_SEQUENCE_S)
                data += os.read(self._stdin, 1_024) if more else b""
        except OSError:
            return b""
        return data


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: the signal number arrives through the wake-up descriptor."""
