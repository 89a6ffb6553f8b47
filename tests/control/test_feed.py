# SPDX-License-Identifier: Apache-2.0
"""The ring of recent events and its readers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from orchestrator.control.feed import CLOCK_KIND, EventFeed
from orchestrator.control.models import EventRecord


def record(text: str, kind: str = "test") -> EventRecord:
    return EventRecord(time=datetime.now(UTC), kind=kind, domain=None, text=text)


def test_a_reader_that_does_not_follow_gets_the_recent_events() -> None:
    async def read() -> list[str]:
        feed = EventFeed(capacity=2)
        for text in ("old", "newer", "newest"):
            feed.publish(record(text))
        return [one.text async for one in feed.read(follow=False)]

    assert asyncio.run(read()) == ["newer", "newest"]


def test_a_slow_reader_receives_the_number_of_events_that_it_missed() -> None:
    async def read() -> list[str]:
        feed = EventFeed(capacity=2)
        feed.publish(record("first"))
        reader = feed.read(follow=True)
        texts = [(await anext(reader)).text]
        for number in range(5):
            feed.publish(record(str(number)))
        feed.close()
        return texts + [one.text async for one in reader]

    assert asyncio.run(read()) == [
        "first",
        "this reader missed 3 events",
        "3",
        "4",
    ]


def test_followers_wake_together_and_end_when_the_feed_closes() -> None:
    async def read() -> tuple[list[bool], list[list[str]]]:
        feed = EventFeed()

        async def follow() -> list[str]:
            return [one.text async for one in feed.read(follow=True)]

        followers = [asyncio.ensure_future(follow()) for _ in range(3)]
        await asyncio.sleep(0)
        is_followed = [feed.are_clocks_followed]
        feed.publish(record("news"))
        await asyncio.sleep(0)
        feed.publish(record("more"))
        feed.close()
        seen = list(await asyncio.gather(*followers))
        is_followed.append(feed.are_clocks_followed)
        return is_followed, seen

    assert asyncio.run(read()) == ([True, False], [["news", "more"]] * 3)


def test_a_reader_without_frequency_changes_does_not_follow_them() -> None:
    async def read() -> tuple[bool, list[str]]:
        feed = EventFeed()
        feed.publish(record("2 GHz", CLOCK_KIND))
        feed.publish(record("news"))
        reader = feed.read(follow=True, clocks=False)
        seen = [(await anext(reader)).text]
        are_followed = feed.are_clocks_followed
        feed.publish(record("3 GHz", CLOCK_KIND))
        feed.close()
        return are_followed, seen + [one.text async for one in reader]

    assert asyncio.run(read()) == (False, ["news"])
