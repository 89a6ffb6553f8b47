# SPDX-License-Identifier: Apache-2.0
"""The engine with real threads, real counters and a real clock."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.performer.call_pool import CallPool
from orchestrator.policy.engine import PolicyEngine
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.subject import PolicyOrder, PolicySubject
from orchestrator.sampling.kinds import build_samplers
from orchestrator.values.domain import InterfaceKind, InterfaceSpec
from tests.policy.engine_harness import MAC, RULE, UUID, place
from tests.sampling.test_sampling import Times, lay_out_interface

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.policy.subject import PolicyVote

DEADLINE_S = 30.0
CHANGES = 3


def receive(root: Path, packets: int) -> None:
    """Let the counter stand at `packets`, without ever being empty."""
    counter = root / "class/net/vnet0/statistics/tx_packets"
    new = counter.with_name("new")
    new.write_text(str(packets))
    new.replace(counter)


async def serve(
    engine: PolicyEngine, woken: asyncio.Event, done: asyncio.Event
) -> None:
    """Tick as the daemon does."""
    while not done.is_set():
        woken.clear()
        delay_s = engine.tick(datetime.now(UTC).astimezone(), time.monotonic())
        try:
            await asyncio.wait_for(woken.wait(), delay_s)
        except TimeoutError:
            continue


async def watch_a_tap(root: Path) -> list[int | None]:
    lay_out_interface(root, "vnet0", rx=0, tx=0)
    loop = asyncio.get_running_loop()
    woken, done = asyncio.Event(), asyncio.Event()
    votes: list[int | None] = []

    def vote(item: PolicyVote) -> None:
        votes.append(item.khz)
        if len(votes) == 1:
            receive(root, 10**9)
        if len(votes) == CHANGES:
            done.set()

    pool = CallPool("sampling", size=2)
    reads = itertools.count()
    engine = PolicyEngine(
        samplers=build_samplers(sysfs_root=root, vcpu_times=Times({})),
        submit=lambda _, uuid, work: pool.submit(uuid, f"{next(reads)}", work),
        emit=vote,
        wake=lambda: loop.call_soon_threadsafe(woken.set),
    )
    tap = InterfaceSpec(mac=MAC, kind=InterfaceKind.TAP, device="vnet0")
    engine.update_subject(
        PolicySubject(
            uuid=UUID, is_executing=True, places=(place(0),), interfaces=(tap,)
        )
    )
    traffic = Traffic(avg_pps=1000, max_pps=2000, period_s=0.01)
    engine.install(UUID, RULE, PolicyOrder(policy=traffic))
    await asyncio.wait_for(serve(engine, woken, done), DEADLINE_S)
    engine.forget_subject(UUID)
    pool.stop()
    assert await asyncio.to_thread(pool.join, DEADLINE_S)
    return votes


def test_a_clock_follows_a_tap_s_counter_through_a_pool_of_threads(
    tmp_path: Path,
) -> None:
    lowest, highest = place(0).window.low_khz, place(0).window.high_khz
    # Nothing arrives, much at once, nothing again; in the end it is forgotten.
    assert asyncio.run(watch_a_tap(tmp_path)) == [lowest, highest, lowest, None]
