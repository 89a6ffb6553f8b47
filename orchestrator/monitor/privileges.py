"""What the monitor process asks of the kernel for itself, and what it gives up.

It holds descriptors, and nothing else.

Source: man 2 prctl, man 2 setresuid. Order matters: groups before the group before the
user; dumpable after the user, because changing that sets it anew.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ignore_signals() -> None:
    """Leave signals to main: Ctrl-C and control groups send them to both."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)


def drop(uid: int | None, gid: int | None) -> None:
    """Become an ordinary user for good; None: stay who we are.

    All imports must have been done: our files may be unreadable afterwards.

    Raises:
        OSError: the kernel refused; the caller must not go on.
    """
    if gid is not None:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
