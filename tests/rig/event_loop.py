"""libvirt's event loop for a test process; the embedded driver needs one."""

from __future__ import annotations

import functools
import threading

import libvirt


@functools.cache
def ensure_event_loop() -> threading.Thread:
    """Register libvirt's own event loop and run it in a thread, for good.

    Code under test may register it again: libvirt ignores that, and both threads
    then take turns at the same loop.
    """
    # Errors are exceptions; libvirt would print each one, too.
    libvirt.registerErrorHandler(lambda *_: None, None)
    libvirt.virEventRegisterDefaultImpl()
    # An idle loop would never notice anything without a timer to wake it up.
    libvirt.virEventAddTimeout(500, lambda *_: None, None)
    thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
    thread.start()
    return thread


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
