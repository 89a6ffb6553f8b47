# SPDX-License-Identifier: Apache-2.0
"""Policies in the daemon's loop: timer and threads."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from orchestrator.performer.call_pool import CallPool
from orchestrator.performer.policy_runner import PolicyRunner
from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.subject import PolicySubject, Source, SourceKind
from orchestrator.policy.timetable import whole_hours
from orchestrator.sampling.kinds import build_samplers
from tests.policy.engine_harness import MAX, OTHER, RULE, UUID, order, place, subject
from tests.sampling.test_sampling import Times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.values.domain import DomainId

TIMEOUT_S = 20.0
AHEAD_H = 6


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        # POSIX counts westwards.
        changed.setenv("TZ", f"EAST-{AHEAD_H}")
        time.tzset()
        yield
    time.tzset()


class Voters:
    """A policy runner whose votes a test can wait for."""

    def __init__(self, root: Path, times: Times) -> None:
        self.votes: dict[tuple[DomainId, int], int | None] = {}
        self._voted = asyncio.Event()
        self.calls = CallPool("libvirt", size=2)
        self.runner = PolicyRunner(
            samplers=build_samplers(sysfs_root=root, vcpu_times=times),
            libvirt_calls=self.calls,
            vote=self._vote,
            post=lambda _event: None,
        )

    def _vote(self, uuid: DomainId, vcpu: int, khz: int | None) -> None:
        self.votes[uuid, vcpu] = khz
        self._voted.set()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.votes) < count:
                self._voted.clear()
                await self._voted.wait()

    async def stop(self) -> None:
        self.runner.stop()
        self.calls.stop()
        assert await asyncio.to_thread(self.calls.join, TIMEOUT_S)


@pytest.mark.usefixtures("_far_from_greenwich")
def test_hours_are_in_the_host_s_time_zone(tmp_path: Path) -> None:
    here = datetime.now(UTC).hour + AHEAD_H
    # Two hours, in case one ends while the test runs.
    busy = whole_hours([here % 24, (here + 1) % 24])
    policy = TimeOfDay(busy=busy, quiet=whole_hours(range(24)))

    async def watch() -> dict[tuple[DomainId, int], int | None]:
        voters = Voters(tmp_path, Times(None))
        domain = PolicySubject(uuid=UUID, is_executing=True, places=(place(0),))
        voters.runner.update_subject(domain, {RULE: order(policy)})
        await voters.wait_for(1)
        await voters.stop()
        return voters.votes

    assert asyncio.run(watch()) == {(UUID, 0): MAX}


def test_many_domains_are_sampled_with_one_call_in_a_thread(tmp_path: Path) -> None:
    times = Times({uuid: {0: 0, 1: 0} for uuid in (UUID, OTHER)})
    policy = Utilisation(up_above=0.0, down_below=0.0, period_s=0.1)

    async def watch() -> None:
        voters = Voters(tmp_path, times)
        source = Source(SourceKind.RULE, "all")
        for uuid in (UUID, OTHER):
            voters.runner.update_subject(subject(uuid=uuid), {source: order(policy)})
        await voters.wait_for(4)
        await voters.stop()
        assert set(voters.votes.values()) == {MAX}

    asyncio.run(watch())
    assert set(times.asked[0]) == {UUID, OTHER}
