# SPDX-License-Identifier: Apache-2.0
"""The ring of recent events and its readers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from orchestrator.control.feed import EventFeed, EventSelection
from orchestrator.control.models import EventRecord
from orchestrator.values.event_kinds import GRANT


def publish(feed: EventFeed, text: str, kind: str = "test") -> EventRecord:
    return feed.publish(datetime.now(UTC), kind, text)


def test_a_reader_that_does_not_follow_gets_the_recent_events() -> None:
    async def read() -> list[str]:
        feed = EventFeed(capacity=2)
        for text in ("old", "newer", "newest"):
            publish(feed, text)
        return [one.text async for one in feed.read()]

    assert asyncio.run(read()) == ["newer", "newest"]


def test_a_slow_reader_receives_the_number_of_events_that_it_missed() -> None:
    async def read() -> list[str]:
        feed = EventFeed(capacity=2)
        publish(feed, "first")
        reader = feed.read(EventSelection(follow=True))
        texts = [(await anext(reader)).text]
        for number in range(5):
            publish(feed, str(number))
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
            return [one.text async for one in feed.read(EventSelection(follow=True))]

        followers = [asyncio.ensure_future(follow()) for _ in range(3)]
        await asyncio.sleep(0)
        is_followed = [feed.are_clocks_followed]
        publish(feed, "news")
        await asyncio.sleep(0)
        publish(feed, "more")
        feed.close()
        seen = list(await asyncio.gather(*followers))
        is_followed.append(feed.are_clocks_followed)
        return is_followed, seen

    assert asyncio.run(read()) == ([True, False], [["news", "more"]] * 3)


def test_a_reader_without_frequency_changes_does_not_follow_them() -> None:
    async def read() -> tuple[bool, list[str]]:
        feed = EventFeed()
        publish(feed, "2 GHz", GRANT)
        publish(feed, "news")
        reader = feed.read(EventSelection(follow=True, clocks=False))
        seen = [(await anext(reader)).text]
        are_followed = feed.are_clocks_followed
        publish(feed, "3 GHz", GRANT)
        feed.close()
        return are_followed, seen + [one.text async for one in reader]

    assert asyncio.run(read()) == (False, ["news"])


def read(feed: EventFeed, selection: EventSelection) -> list[EventRecord]:
    async def collect() -> list[EventRecord]:
        return [one async for one in feed.read(selection)]

    return asyncio.run(collect())


def test_ids_grow_also_behind_those_of_an_earlier_run_and_another_clock() -> None:
    feed = EventFeed()
    ids = [publish(feed, text).id for text in "abc"]
    assert ids == sorted(set(ids))
    ahead = ids[-1] + 10**12  # the clock was set back since
    time = datetime.now(UTC)
    old = EventRecord(id=ahead, time=time, kind="test", domain=None, text="old")
    feed.restore([old])
    assert publish(feed, "new").id == ahead + 1


def test_a_reader_continues_behind_an_id() -> None:
    feed = EventFeed()
    ids = [publish(feed, text).id for text in "abc"]
    assert [one.text for one in read(feed, EventSelection(after=ids[0]))] == ["b", "c"]
    assert read(feed, EventSelection(after=ids[2])) == []


def test_a_reader_that_continues_too_late_is_notified() -> None:
    feed = EventFeed(capacity=2)
    ids = [publish(feed, text).id for text in "abcd"]
    kinds = [one.kind for one in read(feed, EventSelection(after=ids[0]))]
    assert kinds == ["missed", "test", "test"]
    assert [one.kind for one in read(feed, EventSelection(after=ids[2]))] == ["test"]
    # The events of before a reboot are lost.
    assert read(EventFeed(), EventSelection(after=ids[0] - 10**9))[0].kind == "missed"


def test_events_of_an_earlier_run_are_read_first() -> None:
    old, feed = EventFeed(), EventFeed()
    kept = [publish(old, text) for text in "ab"]
    feed.restore(kept)
    publish(feed, "c")
    assert [one.text for one in read(feed, EventSelection())] == ["a", "b", "c"]
    after = EventSelection(after=kept[0].id)
    assert [one.text for one in read(feed, after)] == ["b", "c"]


def test_frequency_changes_displace_no_events_and_are_in_their_order() -> None:
    feed = EventFeed(capacity=3)
    publish(feed, "first")
    for number in range(5):
        publish(feed, str(number), GRANT)
    publish(feed, "last")
    texts = [one.text for one in read(feed, EventSelection())]
    assert texts == ["first", "2", "3", "4", "last"]


def test_events_are_selected() -> None:
    feed = EventFeed()
    for day, (name, kind) in enumerate(
        [("fw", "policy"), ("web", "policy"), ("fw", "group"), ("fw", "policy")], 1
    ):
        time = datetime(2026, 3, day, tzinfo=UTC)
        feed.publish(time, kind, str(day), domain=name)
    for selection, texts in (
        (EventSelection(domain="fw"), "134"),
        (EventSelection(kinds=frozenset({"policy"})), "124"),
        (EventSelection(since=datetime(2026, 3, 3, tzinfo=UTC)), "34"),
        (EventSelection(until=datetime(2026, 3, 2, tzinfo=UTC)), "12"),
        (EventSelection(last=1), "4"),
        (EventSelection(last=9), "1234"),
        (EventSelection(last=2, domain="fw"), "34"),
    ):
        assert "".join(one.text for one in read(feed, selection)) == texts, selection
    assert feed.mentions("web")
    assert not feed.mentions("we")
