# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.acceptance import (
    ACCEPT_TIMEOUT_S,
    Acceptances,
    Connection,
    find_problems,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen(1)
        yield sock


@pytest.fixture
def connection(listener: socket.socket) -> Iterator[Connection]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(listener.getsockname())
        yield Connection(sock, listener.getsockname(), begun_s=10.0)


def test_a_connection_that_was_accepted_can_be_used(
    listener: socket.socket, connection: Connection
) -> None:
    with listener.accept()[0]:
        assert find_problems([connection]) == {}


def test_a_listener_that_serves_another_is_contended(connection: Connection) -> None:
    problem = find_problems([connection])[connection]
    assert "another program is connected" in str(problem)
    assert "vm_power_manager" in problem.hint


def test_a_listener_that_is_gone_ends_the_wait(
    listener: socket.socket, connection: Connection
) -> None:
    listener.close()
    assert find_problems([connection]) == {}


def test_data_end_the_wait_before_the_kernel_is_asked(
    listener: socket.socket, connection: Connection
) -> None:
    with listener.accept()[0] as theirs:
        theirs.send(b"hello")
    assert find_problems([connection]) == {}


@pytest.mark.parametrize("is_ours", [True, False])
def test_only_the_domain_s_own_qemu_may_accept(
    listener: socket.socket, connection: Connection, *, is_ours: bool
) -> None:
    with listener.accept()[0], subprocess.Popen(["sleep", "60"]) as other:
        pid = os.getpid() if is_ours else other.pid
        checked = connection._replace(qemu_pid=pid)
        problems = [str(problem) for problem in find_problems([checked]).values()]
        other.kill()
    expected = f"another process than the domain's QEMU (pid {pid}) listens at"
    assert [expected in it for it in problems] == ([] if is_ours else [True])


def test_a_process_that_has_ended_is_not_checked(
    listener: socket.socket, connection: Connection
) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    with listener.accept()[0]:
        assert find_problems([connection._replace(qemu_pid=ended.pid)]) == {}


def test_a_connection_is_checked_with_growing_pauses_until_its_time_is_over(
    connection: Connection,
) -> None:
    acceptances = Acceptances()
    acceptances.add(connection)
    assert acceptances.take_due(connection.begun_s) == []
    checked_s: list[float] = []
    while (next_s := acceptances.next_check_s) is not None:
        assert acceptances.take_due(next_s) == [connection]
        checked_s.append(next_s - connection.begun_s)
        acceptances.keep(connection, next_s)
    assert checked_s[:4] == pytest.approx([0.001, 0.003, 0.009, 0.027])
    assert checked_s[-2] < ACCEPT_TIMEOUT_S <= checked_s[-1]


def test_a_connection_whose_time_is_over_does_not_wait_on(
    connection: Connection,
) -> None:
    acceptances = Acceptances()
    late_s = connection.begun_s + ACCEPT_TIMEOUT_S
    assert not acceptances.keep(connection, late_s)
    assert acceptances.next_check_s is None


def test_all_connections_that_are_due_are_checked_at_once(
    connection: Connection,
) -> None:
    acceptances = Acceptances()
    others = [connection._replace(begun_s=10.0 + it) for it in (0.0005, 0.002)]
    for it in (connection, *others):
        acceptances.add(it)
    assert acceptances.take_due(10.0015) == [connection, others[0]]
    assert acceptances.next_check_s == pytest.approx(10.003)
