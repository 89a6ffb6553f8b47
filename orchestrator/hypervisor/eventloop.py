"""libvirt's event loop: one for the process, in a native thread, for ever.

Source: virEventRegisterDefaultImpl of libvirt-event.c: it must be registered before
the first connection is opened, and exactly one thread may run it.
"""

from __future__ import annotations

import threading

import libvirt

_PAUSE_AFTER_ERROR_S = 0.1
"""So that a loop that cannot poll does not burn a CPU."""

_guard = threading.Lock()
_threads: list[threading.Thread] = []


def ensure_event_loop() -> None:
    """Start the loop unless it runs; call before opening a connection.

    Synchronization: any thread.
    """
    with _guard:
        if _threads:
            return
        # Without a handler libvirt prints every error to stderr, also those that we
        # expect; each still arrives as an exception.
        libvirt.registerErrorHandler(_ignore_error, None)
        libvirt.virEventRegisterDefaultImpl()
        # A daemon thread: it waits in C for ever and cannot be told to end.
        thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
        _threads.append(thread)
        thread.start()


def _run() -> None:
    pause = threading.Event()
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            pause.wait(_PAUSE_AFTER_ERROR_S)


def _ignore_error(_context: object, _error: object) -> None:
    pass
