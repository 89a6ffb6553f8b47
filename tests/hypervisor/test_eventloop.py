# SPDX-License-Identifier: Apache-2.0
"""The event loop's end: a callback into an exiting interpreter would crash it."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import atexit, threading

def show():
    print([t.name for t in threading.enumerate() if t.name == "libvirt-events"])

atexit.register(show)  # the first one registered is called last
import libvirt
from orchestrator.hypervisor.eventloop import ensure_event_loop

ensure_event_loop()
connection = libvirt.open("test:///default")
show()
"""


def test_the_loop_ends_before_the_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["['libvirt-events']", "[]"]
