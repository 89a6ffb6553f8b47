# SPDX-License-Identifier: Apache-2.0
"""Compiles the filter of the monitor's system calls, where libseccomp is installed.

A list of refused calls, not of permitted ones: those that CPython and libc use change
with their versions, while what code in the monitor must not do is known: start
programs and processes, open connections, trace and signal other processes. Files need
no rule, as the monitor's user may write none.

The monitor cannot import the binding (it starts with ``-I -S``), so it gets the
compiled program.

Source: man 2 seccomp; libseccomp's Python binding, Debian package python3-seccomp.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import tempfile
from typing import Any

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


def compile_filter(binding_name: str = "seccomp") -> bytes | None:
    """Return the filter as the kernel's BPF instructions.

    Returns:
        None: the binding is not installed.
    """
    try:
        binding: Any = importlib.import_module(binding_name)
    except ImportError:
        return None
    refusal = binding.ERRNO(errno.EPERM)
    calls = binding.SyscallFilter(defaction=binding.ALLOW)
    for name in REFUSED:
        with contextlib.suppress(RuntimeError):  # unknown to an older library
            calls.add_rule(refusal, name)
    with tempfile.TemporaryFile() as file:
        calls.export_bpf(file)
        file.seek(0)
        return file.read()
