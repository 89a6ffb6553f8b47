# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from orchestrator.performer.call_pool import CallPool

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 10.0


@pytest.fixture
def pool() -> Iterator[CallPool]:
    pool = CallPool("test", size=3)
    yield pool
    pool.stop()
    assert pool.join(TIMEOUT_S)


def test_calls_about_one_thing_never_overlap_and_keep_their_order(
    pool: CallPool,
) -> None:
    seen: list[int] = []
    busy = threading.Lock()
    done = threading.Event()

    def work(number: int) -> None:
        assert busy.acquire(blocking=False), "two calls at once"
        seen.append(number)
        busy.release()
        if number == 49:
            done.set()

    for number in range(50):
        pool.submit("domain", f"kind {number}", lambda number=number: work(number))  # type: ignore[misc]
    assert done.wait(TIMEOUT_S)
    assert seen == list(range(50))


def test_a_call_that_hangs_does_not_block_others(pool: CallPool) -> None:
    hung, done = threading.Event(), threading.Event()
    pool.submit("hung", "describe", hung.wait)
    pool.submit("other", "describe", done.set)
    assert done.wait(TIMEOUT_S)
    hung.set()


def test_a_waiting_call_replaces_others_of_its_kind(
    pool: CallPool,
) -> None:
    hung, done = threading.Event(), threading.Event()
    started = threading.Event()
    calls: list[str] = []

    def first() -> None:
        started.set()
        hung.wait()

    pool.submit("domain", "describe", first)
    assert started.wait(TIMEOUT_S)
    for number in range(5):
        pool.submit("domain", "describe", lambda n=number: calls.append(str(n)))  # type: ignore[misc]
    pool.submit("domain", "last", done.set)
    hung.set()
    assert done.wait(TIMEOUT_S)
    # The running call may use an outdated state, so one more is needed.
    assert calls == ["0"]


def test_join_reports_whether_all_threads_have_ended() -> None:
    pool = CallPool("hung", size=1)
    hung = threading.Event()
    pool.submit("x", "x", hung.wait)
    pool.stop()
    assert not pool.join(0.05)
    hung.set()
    assert pool.join(TIMEOUT_S)


def test_a_call_that_raises_ends_neither_its_queue_nor_its_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = CallPool("single", size=1)
    done = threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    pool.submit("domain", "describe", fail)
    pool.submit("domain", "attach", fail)
    pool.submit("domain", "last", done.set)
    assert done.wait(TIMEOUT_S)
    pool.stop()
    assert pool.join(TIMEOUT_S)
    logged = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage().split("=")[1] for record in logged] == [
        "describe",
        "attach",
    ]
