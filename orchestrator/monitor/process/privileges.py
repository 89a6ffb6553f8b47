# SPDX-License-Identifier: Apache-2.0
"""Drops the privileges of the monitor process, which needs only its descriptors.

Source: man 2 prctl, man 2 setresuid, man 2 capset, man 7 capabilities, man 2 setrlimit.
Order matters: groups before the group before the user; dumpable after the user, because
changing the user resets it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_INSTRUCTION_BYTES = 8
_FILTER_PROGRAM = struct.Struct("@HP")
"""struct sock_fprog: number of instructions, their address."""
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_SETS_WORDS = 6
"""Effective, permitted and inheritable, each of 64 bits in two words."""
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ignore_signals() -> None:
    """Leave signals to main: Ctrl-C and control groups send them to both."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)


def drop(uid: int | None, gid: int | None) -> None:
    """Become an ordinary user for good, without capabilities; None: unchanged.

    The process can then create no other process or thread, so that its end is the end
    of all that runs in it.

    Becoming another user than root drops the capabilities, too; but a daemon that does
    not run as root may have some, which its child inherits.

    Everything must have been imported before: the files may be unreadable afterwards.

    Raises:
        OSError: the kernel refused; the caller must not continue.
    """
    if gid is not None:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _drop_capabilities(libc)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    # The kernel compares it with all processes of the user: at 0 each one is too many.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def filter_system_calls(program: bytes) -> None:
    """Install a filter of system calls for good; empty: none.

    A kernel that refuses it is reported on the standard error: the process has no
    privileges without it either.
    """
    if not program:
        return

    instructions = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION_BYTES
    filled = _FILTER_PROGRAM.pack(count, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    try:
        _check(libc.prctl(_PR_SET_SECCOMP, mode, filled, 0, 0))
    except OSError as error:
        sys.stderr.write(f"no system call filter: {error}\n")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    ourselves = 0
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, ourselves)
    nothing = (ctypes.c_uint32 * _SETS_WORDS)()
    _check(libc.capset(header, nothing))


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    _check(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def _check(result: int) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
