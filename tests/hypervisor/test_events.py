# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.hypervisor.events import (
    DeviceEventCounter,
    monotonic_of,
    parse_port_change,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("is_open", [True, False])
def test_the_state_of_a_port_is_read_from_qemus_event(*, is_open: bool) -> None:
    details = json.dumps({"open": is_open, "id": "channel0"})
    assert parse_port_change(details) == ("channel0", is_open)


@pytest.mark.parametrize(
    "details",
    ["", "{", "[]", "{}", '{"open": 1, "id": "a"}', '{"open": true, "id": 1}'],
)
def test_unexpected_contents_are_ignored(details: str) -> None:
    assert parse_port_change(details) is None


@given(st.text() | JSON.map(json.dumps))
def test_no_contents_raise_in_the_event_thread(details: str) -> None:
    assert parse_port_change(details) is None


def test_wall_clock_time_becomes_monotonic_time() -> None:
    wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
    event_ns = monotonic_of(wall_ns - 3_000_000_000)
    # A millisecond for the time between reading two clocks.
    assert now_ns - 3_001_000_000 < event_ns <= time.monotonic_ns() - 3_000_000_000


def test_an_event_in_the_future_becomes_one_of_now() -> None:
    before_ns = time.monotonic_ns()
    event_ns = monotonic_of(time.time_ns() + 3_600_000_000_000)
    assert before_ns <= event_ns <= time.monotonic_ns()


def test_an_event_since_the_count_was_read_is_not_waited_for() -> None:
    events = DeviceEventCounter()
    seen = events.count()
    events.increment()
    events.wait_for_more_than(seen, timeout_s=60)
    assert events.count() == seen + 1


def test_an_event_wakes_a_waiting_thread() -> None:
    events = DeviceEventCounter()
    waiting = threading.Thread(target=events.wait_for_more_than, args=(0, 60))
    waiting.start()
    events.increment()
    waiting.join(10)
    assert not waiting.is_alive()
