from __future__ import annotations

import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.hypervisor.events import Bell, monotonic_of, parse_port_change

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_guests_port_is_read_from_qemus_words(*, is_open: bool) -> None:
    details = json.dumps({"open": is_open, "id": "channel0"})
    assert parse_port_change(details) == ("channel0", is_open)


@pytest.mark.parametrize(
    "details",
    ["", "{", "[]", "{}", '{"open": 1, "id": "a"}', '{"open": true, "id": 1}'],
)
def test_other_words_say_nothing(details: str) -> None:
    assert parse_port_change(details) is None


@given(st.text() | JSON.map(json.dumps))
def test_no_words_raise_anything_in_the_event_thread(details: str) -> None:
    assert parse_port_change(details) is None


def test_the_time_of_an_event_is_as_long_ago_as_the_wall_clock_says() -> None:
    wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
    told_ns = monotonic_of(wall_ns - 3_000_000_000)
    # Between the two lies what passes between looks at two clocks.
    assert now_ns - 3_001_000_000 < told_ns <= time.monotonic_ns() - 3_000_000_000


def test_an_event_of_the_future_is_of_now() -> None:
    before_ns = time.monotonic_ns()
    told_ns = monotonic_of(time.time_ns() + 3_600_000_000_000)
    assert before_ns <= told_ns <= time.monotonic_ns()


def test_a_bell_that_rang_since_it_was_counted_does_not_wait() -> None:
    bell = Bell()
    heard = bell.count()
    bell.ring()
    bell.wait_beyond(heard, timeout_s=60)
    assert bell.count() == heard + 1


def test_a_bell_wakes_who_waits() -> None:
    bell = Bell()
    woken = threading.Thread(target=bell.wait_beyond, args=(0, 60))
    woken.start()
    bell.ring()
    woken.join(10)
    assert not woken.is_alive()
