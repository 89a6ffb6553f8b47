# SPDX-License-Identifier: Apache-2.0
"""The verification of taken groups notes the frequencies at which they run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from orchestrator.controller.actions import VerifyGroups
from orchestrator.monitor.client.views import Grant
from orchestrator.performer.call_pool import CallPool
from orchestrator.performer.drift_detector import DriftDetector
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.obtained import ObtainedFrequencies
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CPU_DIR, CpuTree
from orchestrator.power.topology import read_topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

TAKEN, UNTAKEN = 0, 1
OBTAINED_KHZ = 1_234_000


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[HeldGroups]:
    """Two clock groups, of which one is taken; both run at the same frequency."""
    lay_out(tmp_path / "sys", cpus=2)
    tree = CpuTree(tmp_path / "sys")
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    journal = Journal(run_dir / JOURNAL_NAME, tree)
    held = HeldGroups(tree, journal, fallback_governor="schedutil")
    assert not held.prepare(read_topology(tree), [TAKEN, UNTAKEN])
    held.take(TAKEN)
    for number in (TAKEN, UNTAKEN):
        path = tree.root / CPU_DIR / f"cpufreq/policy{number}/scaling_cur_freq"
        path.unlink()
        path.write_text(f"{OBTAINED_KHZ}\n")
    yield held
    held.restore_all()


class InlineCalls(CallPool):
    """Runs each call at once."""

    def submit(self, _key: object, _name: str, work: Callable[[], object]) -> None:
        work()


def verify(
    groups: HeldGroups, numbers: Sequence[int], obtained: ObtainedFrequencies
) -> None:
    async def run() -> None:
        posted: list[object] = []
        calls = InlineCalls("power", size=1)
        detector = DriftDetector(
            groups, lambda _: Grant(None, 0), calls, "verify", posted.append, obtained
        )
        detector.verify(VerifyGroups(tuple(numbers)))
        assert posted == []

    asyncio.run(run())


def test_frequencies_of_taken_groups_are_noted_while_they_are_used(
    groups: HeldGroups,
) -> None:
    obtained = ObtainedFrequencies()
    assert obtained.since(0.0) == {}  # from now on they are used
    verify(groups, [TAKEN, UNTAKEN], obtained)
    assert obtained.since(0.0) == {TAKEN: OBTAINED_KHZ}


def test_nothing_is_read_while_no_program_uses_them(groups: HeldGroups) -> None:
    obtained = ObtainedFrequencies()
    verify(groups, [TAKEN], obtained)
    assert obtained.since(0.0) == {}
