# SPDX-License-Identifier: Apache-2.0
"""The monitor process: builds its parts, serves, and restores if main dies.

It ends in two steps, so that one of the two processes restores the clock groups at any
time: at Quiesce it stops serving and main begins to restore; at Exit main has finished.
"""

from __future__ import annotations

import _socket
import gc
import os
import select
from typing import TYPE_CHECKING

from orchestrator.errors import HandoffError
from orchestrator.monitor.link.commands import Exit, Hello
from orchestrator.monitor.link.handoff import Delivery, Handoff
from orchestrator.monitor.link.messages import VERSION
from orchestrator.monitor.link.reports import Quiesced, Ready
from orchestrator.monitor.link.table import SharedTable
from orchestrator.monitor.process import privileges
from orchestrator.monitor.process.answers import AnswerSender
from orchestrator.monitor.process.clock_groups import ClockGroups
from orchestrator.monitor.process.decisions import Decider
from orchestrator.monitor.process.epoll_set import EpollSet
from orchestrator.monitor.process.exchange import Exchange
from orchestrator.monitor.process.loop import Loop
from orchestrator.monitor.process.registry import Registry
from orchestrator.system import open_files

if TYPE_CHECKING:
    from orchestrator.monitor.link.reports import Report

_NS_PER_MS = 1_000_000
_FLUSH_MS = 5


def serve(handoff_fd: int) -> None:
    """Serve until main ends it or dies; in the latter case restore all groups.

    Raises:
        HandoffError: main is of another version.
    """
    privileges.ignore_signals()
    open_files.raise_limit()
    handoff = Handoff(_socket.socket(fileno=handoff_fd))
    try:
        hello, table_fd = _receive_hello(handoff)
    except EOFError:
        return
    table = SharedTable(table_fd)
    os.close(table_fd)
    _drop_privileges(hello)
    epoll_set = EpollSet(handoff)

    def report(message: Report) -> None:
        handoff.send(message)
        if handoff.is_blocked:
            epoll_set.rearm_handoff()

    groups = ClockGroups(table.words, hello.release_after_ms * _NS_PER_MS, report)
    answers = AnswerSender(table.words, epoll_set.rearm)
    decider = Decider(groups, table.words, report)
    exchange = Exchange(groups, decider, answers, table.words, epoll_set.rearm, report)
    registry = Registry(groups, exchange, answers, epoll_set, table, report)
    registry.budget = hello.budget
    loop = Loop(handoff, epoll_set, groups, answers, exchange, registry)
    report(Ready(VERSION))
    _disable_gc()
    try:
        loop.run()
        registry.hang_up()
        _await_exit(handoff)
    except EOFError:
        _restore(groups)


def _receive_hello(handoff: Handoff) -> tuple[Hello, int]:
    delivery = _receive(handoff)
    hello, fds = delivery.message, delivery.fds
    if not isinstance(hello, Hello) or hello.version != VERSION or len(fds) != 1:
        raise HandoffError(f"unexpected first message from main: {hello!r}")
    return hello, fds[0]


def _drop_privileges(hello: Hello) -> None:
    privileges.drop(hello.uid, hello.gid)
    privileges.filter_system_calls(hello.system_call_filter.encode("latin-1"))


def _await_exit(handoff: Handoff) -> None:
    """Wait until main has restored the clock groups.

    Raises:
        EOFError: it has died before.
    """
    handoff.send(Quiesced())
    while not isinstance(_receive(handoff).message, Exit):
        pass


def _receive(handoff: Handoff) -> Delivery:
    """Wait for a message, and meanwhile send those that wait.

    Raises:
        EOFError: main is gone.
    """
    waiter = select.poll()  # select() supports no descriptor above 1023
    waiter.register(handoff.fileno(), select.POLLIN)
    while True:
        waiter.poll(_FLUSH_MS if handoff.is_blocked else None)
        handoff.flush()
        delivery = handoff.receive()
        if delivery is not None:
            return delivery


def _disable_gc() -> None:
    # The fast path creates no cycles, and a full collection would interrupt it for some
    # milliseconds. Domains, which are cyclic, are collected when they are removed; what
    # exists now need not be scanned.
    gc.collect()
    gc.freeze()
    gc.disable()


def _restore(groups: ClockGroups) -> None:
    """Restore what main may have changed: it is dead."""
    for clock in groups.clocks.values():
        if clock.is_changed:
            clock.restore()
