# SPDX-License-Identifier: Apache-2.0
"""Opening a connection to a libvirtd that accepts and does not answer."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import libvirt
import pytest

from orchestrator.errors import HypervisorGone
from orchestrator.hypervisor.bounded_open import Opener
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


class StoppedLibvirtd:
    """Listens like a libvirtd that was stopped: it accepts and does not answer."""

    def __init__(self, directory: str) -> None:
        path = f"{directory}/libvirt-sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(8)
        self.uri = f"qemu+unix:///session?socket={path}"

    def end(self) -> None:
        """Hang up; pending opens are refused."""
        self._listener.close()


@pytest.fixture
def stopped() -> Iterator[StoppedLibvirtd]:
    with tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as directory:
        stopped = StoppedLibvirtd(directory)
        yield stopped
        stopped.end()


def opening_threads() -> int:
    return sum(thread.name == "libvirt-open" for thread in threading.enumerate())


def test_each_caller_gets_its_own_connection() -> None:
    opener = Opener("test:///default")
    first, second = opener.open(), opener.open()
    assert first.listAllDomains(0)
    assert (first.close(), second.close()) == (0, 0)
    wait_for(lambda: not opening_threads(), "the threads' end")


def test_a_refusal_is_raised_as_libvirt_s_own_error(stopped: StoppedLibvirtd) -> None:
    stopped.end()
    with pytest.raises(libvirt.libvirtError, match="Connection refused"):
        Opener(stopped.uri).open()


def test_a_libvirt_that_does_not_answer_blocks_one_thread_and_no_caller(
    stopped: StoppedLibvirtd,
) -> None:
    opener = Opener(stopped.uri, timeout_s=0.2)
    with pytest.raises(HypervisorGone, match="libvirt does not answer"):
        opener.open()
    begun = time.monotonic()
    for _ in range(100):
        with pytest.raises(HypervisorGone, match="libvirt does not answer"):
            opener.open()
    assert time.monotonic() - begun < 10, "each waited for 0.2 s"
    assert opening_threads() == 1
    stopped.end()
    wait_for(lambda: not opening_threads(), "the thread's end")
    # Now libvirt is called again.
    with pytest.raises(libvirt.libvirtError, match="Connection refused"):
        opener.open()
