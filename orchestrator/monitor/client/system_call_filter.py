# SPDX-License-Identifier: Apache-2.0
"""Compiles the filter of the monitor's system calls, where libseccomp is installed.

A list of refused calls, not of permitted ones: those that CPython and libc use change
with their versions, while what code in the monitor must not do is known: start
programs and processes, open connections, trace and signal other processes. Files need
no rule, as the monitor's user may write none.

The monitor cannot import the binding (it starts with ``-I -S``), so it gets the
compiled program.

Source: man 2 seccomp; libseccomp's Python binding (Debian package python3-seccomp), and
pyseccomp, which has the same interface and can be installed in a virtual environment.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

BINDINGS = ("seccomp", "pyseccomp")
REFUSED = (
    *("fork", "vfork", "clone", "clone3", "execve", "execveat"),
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    # With these, a kernel thread would do what the others refuse.
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),
    *("kill", "tkill", "pidfd_send_signal"),
    *("unshare", "setns", "userfaultfd", "bpf", "perf_event_open"),
    *("add_key", "keyctl", "request_key"),
)
"""Answered with EPERM. A call that is not listed is permitted."""


def compile_filter(bindings: Iterable[str] = BINDINGS) -> bytes | None:
    """Return the filter as the kernel's BPF instructions.

    Args:
        bindings: names of modules, of which the first that is installed is used.

    Returns:
        None: none is installed.
    """
    for name in bindings:
        # RuntimeError: pyseccomp without the library.
        with contextlib.suppress(ImportError, RuntimeError):
            return _compile(importlib.import_module(name))
    return None


def _compile(binding: Any) -> bytes:  # noqa: ANN401 - a module without types
    refusal = binding.ERRNO(errno.EPERM)
    calls = binding.SyscallFilter(defaction=binding.ALLOW)
    for name in REFUSED:
        # Some are unknown to an older library.
        with contextlib.suppress(RuntimeError, OSError):
            calls.add_rule(refusal, name)
    # Not a temporary file: as a service, the daemon may write to no directory of them.
    with open(os.memfd_create("filter"), "w+b") as file:  # noqa: PTH123 - no path
        calls.export_bpf(file)
        file.seek(0)
        return file.read()
