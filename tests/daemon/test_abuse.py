# SPDX-License-Identifier: Apache-2.0
"""Nothing outside of the daemon keeps it from answering and from ending in order."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING

from orchestrator.control import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from tests.daemon.daemon_process import DaemonProcess

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree


def test_a_log_that_is_not_read_delays_neither_the_api_nor_the_end(
    tree: CpuTree, uri: str
) -> None:
    daemon = DaemonProcess(uri, tree.root)
    os.mkfifo(daemon.log)
    unread = os.open(daemon.log, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(unread, fcntl.F_SETPIPE_SZ, 4_096)
    os.write(unread, bytes(4_096))  # full: the daemon's first line does not fit
    try:
        with daemon:
            send_garbage(daemon.run_dir / READ_ONLY_SOCKET)
            with ControlClient(daemon.socket) as client:
                client.override(2, 2_000_000)
                assert client.cpu(2)["claimed"]
            assert daemon.stop() == 0
            assert tree.read("devices/system/cpu/cpu2/cpufreq/scaling_governor") == (
                "schedutil"
            )
            daemon.log.unlink()
            daemon.log.touch()
    finally:
        os.close(unread)


def send_garbage(path: Path) -> None:
    for _ in range(100):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"\x16\x03\x01\r\n\r\n")
            sock.recv(1)
