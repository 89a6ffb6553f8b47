# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import threading

from orchestrator import events
from orchestrator.performer.event_queue import EventQueue
from tests.monitor.monitor_harness import until

GROUPS = [events.GroupTaken(number) for number in range(100)]


def test_events_of_a_thread_arrive_in_order_in_the_asyncio_thread() -> None:
    threads: set[str] = set()
    seen: list[events.Event] = []

    def react(event: events.Event) -> None:
        seen.append(event)
        threads.add(threading.current_thread().name)

    async def run() -> None:
        queue = EventQueue(react)

        def post_all() -> None:
            for event in GROUPS:
                queue.post(event)

        await asyncio.to_thread(post_all)
        await until(lambda: len(seen) == len(GROUPS), "all events")

    asyncio.run(run())
    assert seen == GROUPS
    assert threads == {threading.current_thread().name}


def test_an_event_that_is_posted_by_a_reaction_follows_the_others() -> None:
    seen: list[events.Event] = []

    async def run() -> None:
        def react(event: events.Event) -> None:
            seen.append(event)
            if event is GROUPS[0]:
                queue.post(GROUPS[2])

        queue = EventQueue(react)
        for event in GROUPS[:2]:
            queue.post(event)
        await until(lambda: len(seen) == 3, "all events")

    asyncio.run(run())
    assert seen == GROUPS[:3]


def test_a_defect_in_one_reaction_is_reported_and_delays_no_other() -> None:
    seen: list[events.Event] = []
    reported: list[str] = []

    async def run() -> None:
        def react(event: events.Event) -> None:
            if event is GROUPS[0]:
                raise LookupError("a defect")
            seen.append(event)

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _loop, context: reported.append(str(context["exception"]))
        )
        queue = EventQueue(react)
        for event in GROUPS[:3]:
            queue.post(event)
        await until(lambda: len(seen) == 2, "the other events")

    asyncio.run(run())
    assert seen == GROUPS[1:3]
    assert reported == ["a defect"]


def test_an_event_after_the_end_of_the_loop_has_no_effect() -> None:
    seen: list[events.Event] = []

    async def create() -> EventQueue:
        return EventQueue(seen.append)

    asyncio.run(create()).post(GROUPS[0])
    assert seen == []
