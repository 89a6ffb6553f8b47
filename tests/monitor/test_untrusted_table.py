# SPDX-License-Identifier: Apache-2.0
"""What main and the next monitor believe of a table that holds anything."""

from __future__ import annotations

import json
import mmap
import os
import signal
from dataclasses import asdict

from orchestrator import events
from orchestrator.channel.protocol import Unit
from orchestrator.monitor.client.views import Counters
from orchestrator.monitor.link.commands import SwitchChannel, WithdrawVotes
from orchestrator.monitor.link.table import CHANNEL_WORDS, DONE_AT, channel_at
from tests.monitor.monitor_harness import (
    LOWEST,
    TURBO,
    UUID,
    MonitorHarness,
    until,
    with_monitor,
)

JUNK = 2**64 - 1


def words(main: MonitorHarness) -> memoryview[int]:
    return main.monitor._table.words


async def replace_monitor(main: MonitorHarness) -> None:
    if main.monitor.pid is not None:
        os.kill(main.pid(), signal.SIGKILL)
    await until(lambda: main.monitor.pid is None, "the end of the monitor")
    await main.monitor.start()


@with_monitor
async def test_words_that_no_monitor_writes_are_read_as_zero(
    main: MonitorHarness,
) -> None:
    await main.simple().request(Unit.SCALE_MIN)
    for index in range(CHANNEL_WORDS):
        words(main)[channel_at(0) + index] = JUNK
    shown = main.counters()
    assert (shown.requests, shown.acks, dict(shown.nack_reasons)) == (0, 0, {})


@with_monitor
async def test_the_next_monitor_serves_whatever_the_last_one_left(
    main: MonitorHarness,
) -> None:
    await main.simple().request(Unit.SCALE_MIN)
    os.kill(main.pid(), signal.SIGSTOP)
    for index in range(DONE_AT + 1):
        if words(main)[index]:
            words(main)[index] = JUNK
    words(main)[DONE_AT] = JUNK
    await replace_monitor(main)
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): None}
    assert main.counters() == Counters()
    main.hand_over_again()
    assert await main.open_channel().request(Unit.SCALE_MIN) == "ACK"
    assert main.frequency() == LOWEST


@with_monitor
async def test_counters_and_votes_that_are_valid_are_kept(main: MonitorHarness) -> None:
    guest = main.simple()
    assert await guest.request(Unit.SCALE_MIN) == "ACK"
    assert await guest.request(77) == "NACK"
    await main.count(nacks=1)
    before = main.counters()
    await replace_monitor(main)
    assert main.counters() == before
    assert main.monitor.snapshot().requested_khz == {(UUID, 0): LOWEST}
    json.dumps(asdict(before))


@with_monitor
async def test_the_last_table_is_not_the_next_one_s(main: MonitorHarness) -> None:
    await main.simple().request(Unit.SCALE_MIN)
    # A copy of the descriptor, as a process that outlived the monitor would have.
    kept = mmap.mmap(main.monitor._table_fd, 0)
    await replace_monitor(main)
    before = main.counters()
    kept[:] = b"\xff" * len(kept)
    assert main.counters() == before
    main.hand_over_again()
    assert await main.open_channel().request(Unit.SCALE_MAX) == "ACK"
    kept.close()


@with_monitor
async def test_withdrawals_that_were_only_claimed_to_be_processed_are_applied(
    main: MonitorHarness,
) -> None:
    await main.simple().request(Unit.SCALE_MIN)
    os.kill(main.pid(), signal.SIGSTOP)
    main.monitor.send(WithdrawVotes(UUID, 0))
    words(main)[DONE_AT] = JUNK
    main.monitor.send(SwitchChannel(UUID, 1, is_enabled=False))
    await main.wait_for(events.MonitorDied(-signal.SIGKILL))  # it counts as hung
    await main.monitor.start()
    main.hand_over_again()
    await until(lambda: main.frequency() == TURBO, "the end of the vote")
