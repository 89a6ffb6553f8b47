# SPDX-License-Identifier: Apache-2.0
"""What stands for guests behaves like QEMU on a busy machine, too."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.daemon.libvirt_test_guests import guest_ends

if TYPE_CHECKING:
    from pathlib import Path


def test_a_connection_that_the_host_has_given_up_is_not_used(directory: Path) -> None:
    with guest_ends(directory, 1) as (end,), socket.socket(socket.AF_UNIX) as used:
        with socket.socket(socket.AF_UNIX) as given_up:
            given_up.connect(str(end.path))
        used.connect(str(end.path))
        used.sendall(b"request")
        end.accept()
        assert end.peer.recv(100) == b"request"
