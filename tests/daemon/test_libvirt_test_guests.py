# SPDX-License-Identifier: Apache-2.0
"""What stands for guests behaves like QEMU on a busy machine, too."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.daemon.libvirt_test_guests import guest_ends
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path


def test_a_connection_that_the_host_has_given_up_is_not_used(directory: Path) -> None:
    with guest_ends(directory, 1) as (end,):
        for text in (b"given up", b"used"):
            host = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            host.connect(str(end.path))
            host.sendall(text)
            if text == b"given up":
                host.close()
        end.accept()
        assert end.peer.recv(100) == b"used"
        host.close()
        wait_for(lambda: end.peer.recv(1) == b"", "the host's end")
