# SPDX-License-Identifier: Apache-2.0
"""Processes of the tests: orphans are reaped at once, none outlives the run.

QEMU makes itself an orphan, and so does every daemon whose parent a test kills. On an
ordinary machine init reaps an orphan when it exits; the init of some containers needs
seconds for that, and libvirt waits each time. Here the parent of the test process does
it.

As root the test process also gets a PID namespace: when it exits, for whatever reason,
the kernel kills everything that it has started.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from examples.guests.kvm import mount

_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def move_under_reaper(*, has_own_mounts: bool) -> None:
    """Continue as a child of a process that reaps orphans; the parent waits.

    Args:
        has_own_mounts: ``/proc`` can be mounted without affecting other processes.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if has_own_mounts and _libc.unshare(_CLONE_NEWPID) == 0:
        _go_on_as_child()
        mount("proc", Path("/proc"), "proc")
    else:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _go_on_as_child()


def _go_on_as_child() -> None:
    child = os.fork()
    if child:
        _reap_until(child)
    # Killing the process that was started also kills this one.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _reap_until(child: int) -> NoReturn:
    # the terminal sends it to the whole group
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
