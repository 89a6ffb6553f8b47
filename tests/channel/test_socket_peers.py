# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.socket_peers import (
    LIST_FROM,
    find_peers,
    find_sockets,
    list_peers,
    search_peers,
)

if TYPE_CHECKING:
    from pathlib import Path


def inode_of(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


@pytest.mark.parametrize("number", [2, LIST_FROM + 2])
def test_the_kernel_shows_which_connections_were_accepted(
    tmp_path: Path, number: int
) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "s"))
        listener.listen(number)
        ours = [
            stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(number)
        ]
        for sock in ours:
            sock.connect(str(tmp_path / "s"))
        # In the order of their arrival: the first half.
        theirs = [stack.enter_context(listener.accept()[0]) for _ in range(number // 2)]
        inodes = [inode_of(it) for it in ours]
        peers = [inode_of(it) for it in theirs] + [0] * (number - number // 2)
        expected = dict(zip(inodes, peers, strict=True))
        assert find_peers(inodes) == search_peers(inodes) == expected
        assert expected.items() <= list_peers().items()


@pytest.mark.parametrize("number", [1, LIST_FROM])
def test_a_socket_that_the_kernel_does_not_show_is_left_out(number: int) -> None:
    assert find_peers([2**32 - 2 - it for it in range(number)]) == {}


def test_the_sockets_of_a_process_are_found() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        inode = inode_of(sock)
        before = find_sockets(os.getpid())
    after = find_sockets(os.getpid())
    assert before is not None
    assert after is not None
    assert inode in before - after


def test_a_process_that_has_ended_has_no_known_sockets() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert find_sockets(ended.pid) is None


FIND_SOCKETS = """
import sys
from orchestrator.channel.socket_peers import find_sockets

print(find_sockets(int(sys.argv[1])))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_sockets_that_may_be_listed_but_not_read_are_not_known() -> None:
    without = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
    with subprocess.Popen(["cat"], user=65_534, stdin=subprocess.PIPE) as other:
        done = subprocess.run(
            [*without, sys.executable, "-c", FIND_SOCKETS, str(other.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert other.stdin is not None
        other.stdin.close()
    assert done.stdout == "None\n", done.stderr
