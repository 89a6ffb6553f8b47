# SPDX-License-Identifier: Apache-2.0
"""Work of different intervals is due at the same times."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.system.ticks import next_tick, wait_for_tick

NOW_S = st.floats(min_value=0.0, max_value=1e7)
INTERVAL_S = st.sampled_from([0.02, 0.25, 1.0, 2.0, 5.0, 10.0, 3600.0])


@given(NOW_S, INTERVAL_S)
def test_it_is_the_next_multiple_of_the_interval(
    now_s: float, interval_s: float
) -> None:
    due_s = next_tick(now_s, interval_s)
    assert now_s < due_s <= now_s + 1.002 * interval_s
    count = due_s / interval_s
    assert math.isclose(count, round(count), rel_tol=1e-9)


@pytest.mark.parametrize("now_s", [19.99999, 20.0, 20.3, 29.9])
def test_a_timer_that_fires_early_or_late_keeps_the_rhythm(now_s: float) -> None:
    assert next_tick(now_s, 10.0) == 30.0


def test_work_waits_until_it_is_due() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        due_s = next_tick(loop.time(), 0.05)
        await wait_for_tick(0.05)
        assert loop.time() >= due_s - 0.001

    asyncio.run(run())
