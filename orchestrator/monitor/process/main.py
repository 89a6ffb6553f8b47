"""The monitor process: puts its parts together, serves, and cleans up after main."""

from __future__ import annotations

import _socket
import gc
import os
import select
from typing import TYPE_CHECKING

from orchestrator.errors import HandoffError
from orchestrator.monitor.link.commands import Hello
from orchestrator.monitor.link.handoff import Handoff
from orchestrator.monitor.link.messages import VERSION
from orchestrator.monitor.link.reports import Ready
from orchestrator.monitor.link.table import SharedTable
from orchestrator.monitor.process import privileges
from orchestrator.monitor.process.answers import Answers
from orchestrator.monitor.process.clock_groups import ClockGroups
from orchestrator.monitor.process.decisions import Decisions
from orchestrator.monitor.process.exchange import Exchange
from orchestrator.monitor.process.loop import Loop
from orchestrator.monitor.process.registry import Registry
from orchestrator.monitor.process.watch import Watch
from orchestrator.system import open_files

if TYPE_CHECKING:
    from orchestrator.monitor.link.reports import Report

_NS_PER_MS = 1_000_000


def serve(handoff_fd: int) -> None:
    """Serve until main says so or is gone; then undo what main had changed.

    Raises:
        HandoffError: main speaks another language.
    """
    privileges.ignore_signals()
    open_files.raise_limit()
    handoff = Handoff(_socket.socket(fileno=handoff_fd))
    try:
        hello, table_fd = _greet(handoff)
    except EOFError:
        return
    table = SharedTable(table_fd)
    os.close(table_fd)
    privileges.drop(hello.uid, hello.gid)
    watch = Watch(handoff)

    def report(message: Report) -> None:
        handoff.send(message)
        if handoff.is_blocked:
            watch.watch_handoff()

    groups = ClockGroups(table.words, hello.release_after_ms * _NS_PER_MS, report)
    answers = Answers(table.words, watch.look)
    decisions = Decisions(groups, table.words, report)
    exchange = Exchange(groups, decisions, answers, table.words, watch.look)
    registry = Registry(groups, exchange, answers, watch, table, report)
    loop = Loop(handoff, watch, groups, answers, exchange, registry)
    report(Ready(VERSION))
    _still_the_collector()
    try:
        loop.run()
    except EOFError:
        _undo(groups)


def _greet(handoff: Handoff) -> tuple[Hello, int]:
    waiter = select.poll()  # select() takes no descriptor above 1023
    waiter.register(handoff.fileno(), select.POLLIN)
    while True:
        waiter.poll()
        delivery = handoff.receive()
        if delivery is not None:
            break
    hello, fds = delivery.message, delivery.fds
    if not isinstance(hello, Hello) or hello.version != VERSION or len(fds) != 1:
        raise HandoffError(f"main began with {hello!r}")
    return hello, fds[0]


def _still_the_collector() -> None:
    # The fast path makes no cycles, and a full collection would stop it for some
    # milliseconds at a time of its own choice. Domains, which are cyclic, are
    # collected when they are forgotten; what exists now never needs to be looked at.
    gc.collect()
    gc.freeze()
    gc.disable()


def _undo(groups: ClockGroups) -> None:
    """Restore what main may have changed: it cannot any more."""
    for clock in groups.clocks.values():
        if clock.is_changed:
            clock.restore()
