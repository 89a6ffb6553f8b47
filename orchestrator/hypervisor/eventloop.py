# SPDX-License-Identifier: Apache-2.0
"""libvirt's event loop: one per process, in a native thread, until the process ends.

Source: virEventRegisterDefaultImpl of libvirt-event.c: it must be registered before
the first connection is opened, and exactly one thread may run it.
"""

from __future__ import annotations

import atexit
import threading

import libvirt

_PAUSE_AFTER_ERROR_S = 0.1
"""Keeps a loop that cannot poll from using a whole CPU."""

_STOP_TIMEOUT_S = 1.0
"""A callback takes microseconds; one that takes longer is stuck."""

_guard = threading.Lock()
_threads: list[threading.Thread] = []
_ending = threading.Event()


def ensure_event_loop() -> None:
    """Start the loop if it is not running; call before opening a connection.

    Synchronization: any thread.
    """
    with _guard:
        if _threads:
            return
        # Without a handler libvirt prints every error to stderr, even expected ones;
        # each is still raised as an exception.
        libvirt.registerErrorHandler(_ignore, None)
        libvirt.virEventRegisterDefaultImpl()
        # A daemon thread, so that the process can exit even if the loop does not stop.
        thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
        _threads.append(thread)
        thread.start()
        atexit.register(_end)


def _run() -> None:
    while not _ending.is_set():
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            _ending.wait(_PAUSE_AFTER_ERROR_S)


def _end() -> None:
    """Stop the loop before the interpreter exits: a later callback would crash."""
    _ending.set()
    libvirt.virEventAddTimeout(0, _ignore, None)  # wakes the loop
    for thread in _threads:
        thread.join(_STOP_TIMEOUT_S)


def _ignore(*_arguments: object) -> None:
    pass
