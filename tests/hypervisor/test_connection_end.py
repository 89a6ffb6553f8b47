# SPDX-License-Identifier: Apache-2.0
"""The end of a connection that other threads are using."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# In a separate process, which libvirt would crash.
SCRIPT = """
import sys, threading
from orchestrator.errors import HypervisorGone
from orchestrator.events import LibvirtConnected
from orchestrator.hypervisor.connection import Hypervisor

def use(hypervisor, calls):
    try:
        while True:
            for uuid in hypervisor.list_domains():
                hypervisor.describe(uuid)
                calls.release()
    except HypervisorGone:
        pass

for attempt in range(100):
    connected, calls = threading.Event(), threading.Semaphore(0)
    def post(event):
        if isinstance(event, LibvirtConnected): connected.set()
    hypervisor = Hypervisor(sys.argv[1], post=post)
    hypervisor.start()
    connected.wait()
    users = [threading.Thread(target=use, args=(hypervisor, calls)) for _ in range(4)]
    for user in users: user.start()
    for _ in users: calls.acquire()
    hypervisor.close(60)
    for user in users: user.join()
print("done")
"""


def test_a_connection_is_closed_after_the_calls_that_use_it(tmp_path: Path) -> None:
    """Otherwise libvirt frees it below a call of another thread."""
    node = tmp_path / "node.xml"
    node.write_text(
        "<node><domain type='test'><name>d</name><memory>1024</memory><vcpu>2</vcpu>"
        "<os><type>hvm</type></os></domain></node>"
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"test://{node}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)
