"""libvirt's event loop: one for the process, in a native thread, until its end.

Source: virEventRegisterDefaultImpl of libvirt-event.c: it must be registered before
the first connection is opened, and exactly one thread may run it.
"""

from __future__ import annotations

import atexit
import threading

import libvirt

_PAUSE_AFTER_ERROR_S = 0.1
"""So that a loop that cannot poll does not burn a CPU."""

_ENDS_WITHIN_S = 1.0
"""A callback takes microseconds; whoever waits for longer is stuck."""

_guard = threading.Lock()
_threads: list[threading.Thread] = []
_ending = threading.Event()


def ensure_event_loop() -> None:
    """Start the loop unless it runs; call before opening a connection.

    Synchronization: any thread.
    """
    with _guard:
        if _threads:
            return
        # Without a handler libvirt prints every error to stderr, also those that we
        # expect; each still arrives as an exception.
        libvirt.registerErrorHandler(_ignore, None)
        libvirt.virEventRegisterDefaultImpl()
        # A daemon thread, so that a process which cannot stop it ends all the same.
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
    """Stop the loop before the interpreter goes: a callback after that would crash."""
    _ending.set()
    libvirt.virEventAddTimeout(0, _ignore, None)  # wakes it up
    for thread in _threads:
        thread.join(_ENDS_WITHIN_S)


def _ignore(*_arguments: object) -> None:
    pass
