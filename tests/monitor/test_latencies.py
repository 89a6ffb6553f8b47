# SPDX-License-Identifier: Apache-2.0
"""The histogram of latencies counts each answer once, on every path to it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import GENERATION_456, Request, Unit, encode
from orchestrator.monitor.link import commands
from orchestrator.monitor.link.table import (
    LATENCY_AT,
    LATENCY_BUCKETS,
    LATENCY_SUM_AT,
    latency_at,
)
from orchestrator.monitor.process.answers import LATE_NS
from orchestrator.monitor.process.loop import GATHER_FROM
from tests.monitor.monitor_harness import MonitorHarness, until, with_monitor

if TYPE_CHECKING:
    import socket

    from tests.monitor.in_process_monitor import InProcessMonitor

MAX, MIN = Unit.SCALE_MAX, Unit.SCALE_MIN
JUNK = 2**64 - 1


def counted(monitor: InProcessMonitor) -> dict[int, int]:
    """Return the buckets that are not empty."""
    words = monitor.table.words
    found = {n: words[LATENCY_AT + n] for n in range(LATENCY_BUCKETS)}
    return {bucket: count for bucket, count in found.items() if count}


def sum_ns(monitor: InProcessMonitor) -> int:
    return monitor.table.words[LATENCY_SUM_AT]


def recognized(monitor: InProcessMonitor) -> socket.socket:
    """Open a channel whose generation is known; its first answer is not counted."""
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MAX)))
    monitor.table.clear([LATENCY_AT], LATENCY_BUCKETS + 1)
    return guest


@pytest.mark.parametrize(
    ("latency_ns", "bucket"),
    [(0, 0), (1_023, 0), (1_024, 1), (2_047, 1), (2_048, 2), (LATE_NS - 1, 13)],
)
def test_a_bucket_ends_at_twice_the_latency_of_the_one_before(
    latency_ns: int, bucket: int
) -> None:
    assert latency_at(latency_ns) == LATENCY_AT + bucket


def test_the_last_bucket_ends_beyond_the_age_of_late_answers() -> None:
    assert latency_at(LATE_NS) < LATENCY_SUM_AT


@pytest.mark.parametrize(
    "packets",
    [
        (Request(0, MIN),),
        (Request(0, MIN), Request(0, MAX)),
        (Request(0, 77),),
        (Request(0, MIN), Request(0, 77), Request(0, MAX)),
    ],
    ids=["a plan", "many plans", "a refusal", "a mixed burst"],
)
def test_each_answer_is_counted_once_with_its_latency(
    monitor: InProcessMonitor, packets: tuple[Request, ...]
) -> None:
    guest = recognized(monitor)
    guest.send(b"".join(map(encode, packets)))
    monitor.run_pass(age_ns=5_000)
    assert counted(monitor) == {3: len(packets)}
    assert sum_ns(monitor) == 5_000 * len(packets)


def test_gathered_answers_are_counted(monitor: InProcessMonitor) -> None:
    guests = [recognized(monitor)]
    guests += [monitor.adopt(number=number) for number in range(1, GATHER_FROM)]
    for guest in guests[1:]:
        monitor.request(guest, encode(Request(0, MAX)))
    monitor.table.clear([LATENCY_AT], LATENCY_BUCKETS + 1)
    for guest in guests:
        guest.send(encode(Request(0, MIN)))
    monitor.run_pass(age_ns=5_000)
    assert counted(monitor) == {3: GATHER_FROM}
    assert sum_ns(monitor) == 5_000 * GATHER_FROM


def test_an_answer_that_waited_is_counted_with_its_wait(
    monitor: InProcessMonitor,
) -> None:
    guest = recognized(monitor)
    monitor.hand_over(is_taken=False)
    guest.send(encode(Request(0, MIN)))
    monitor.run_pass()
    assert not counted(monitor)
    monitor.now_ns += 1_000_000
    monitor.hand_over()
    monitor.apply(commands.AnswerTake(0, is_taken=True))
    assert counted(monitor) == {10: 1}


def test_late_and_unread_generations_are_not_counted(
    monitor: InProcessMonitor,
) -> None:
    guest = recognized(monitor)
    guest.send(encode(Request(0, MIN)))
    monitor.run_pass(age_ns=LATE_NS)
    assert monitor.counts()["late"] == 1
    old = encode(Request(0, MIN), GENERATION_456)
    guest.send(old * 2)
    monitor.run_pass()
    assert not counted(monitor)
    assert sum_ns(monitor) == 0


@with_monitor
async def test_main_reads_the_histogram_and_keeps_it_over_the_monitor_s_death(
    main: MonitorHarness,
) -> None:
    guest = main.simple()
    for unit in (MIN, MAX, MIN):
        await guest.request(unit)
    await until(
        lambda: sum(main.monitor.totals().latencies) >= 3, "three counted answers"
    )
    os.kill(main.pid(), signal.SIGKILL)
    await until(lambda: main.monitor.pid is None, "the end of the monitor")
    before = main.monitor.totals()
    assert before.latency_sum_ns > 0
    main.monitor._table.words[LATENCY_AT + 5] = JUNK
    await main.monitor.start()
    after = main.monitor.totals()
    assert after.latency_sum_ns == before.latency_sum_ns
    assert after.latencies == (*before.latencies[:5], 0, *before.latencies[6:])
