# SPDX-License-Identifier: Apache-2.0
"""What limits and other attributes have in common: journalled, written, restored."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, ClassVar

import pytest

from orchestrator.limits import Limits
from orchestrator.power.attribute_journal import AttributeJournal
from orchestrator.power.attribute_state import Outcome
from orchestrator.power.held_attributes import HeldAttributes
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.kernel_limits import MAX
from orchestrator.power.limit_journal import LimitJournal
from orchestrator.power.sysfs import policy_path
from tests.power.attribute_files import (
    add_everything,
    change,
    latency_path,
    preference_path,
    uncore_path,
    value_of,
)
from tests.power.conftest import read_all, rewrite
from tests.power.failing_trees import (
    BUSY,
    Death,
    DyingTree,
    RefusingTree,
    dying_sync,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.power.replay import Replay
    from orchestrator.power.sysfs import CpuTree

LATENCY, PREFERENCE = latency_path(), preference_path()
UMAX = uncore_path("max_freq_khz")
LOW, MIDDLE, HIGH = 1_500_000, 2_100_000, 2_400_000


class HeldMaximum:
    """The highest frequency of clock group 0, and with `hold_many` more limits."""

    path = policy_path(0, MAX)
    value, changed = str(MIDDLE), str(HIGH)
    sequences: ClassVar[Sequence[Sequence[Limits]]] = (
        (Limits(LOW, MIDDLE),),
        (Limits(max_khz=LOW), Limits(MIDDLE, HIGH)),
        (Limits(MIDDLE, HIGH), Limits(max_khz=LOW), Limits()),
    )

    def __init__(
        self, tree: CpuTree, journal: Path, sync: Callable[[int], None] = os.fsync
    ) -> None:
        self.held = HeldLimits(tree, LimitJournal(journal, tree, sync=sync))

    def replay(self) -> Replay[int]:
        return self.held.replay()

    def hold(self, value: str) -> str:
        """Hold the attribute at a value; return what was refused."""
        return self.held.hold({0: Limits(max_khz=int(value))})[0].problem

    def hold_many(self, number: int) -> None:
        for limits in self.sequences[number]:
            self.held.hold({0: limits, 1: limits})

    def refresh(self) -> None:
        self.held.refresh([0])


class HeldLatency:
    """The idle latency of CPU 0, and with `hold_many` attributes of other kinds."""

    path = LATENCY
    value, changed = "50", "200"
    sequences: ClassVar[Sequence[Sequence[Mapping[str, str | None]]]] = (
        (
            {LATENCY: "50", PREFERENCE: "power", UMAX: "1500000"},
            {LATENCY: "10", PREFERENCE: "200", UMAX: None},
        ),
    )

    def __init__(
        self, tree: CpuTree, journal: Path, sync: Callable[[int], None] = os.fsync
    ) -> None:
        self.held = HeldAttributes(tree, AttributeJournal(journal, tree, sync=sync))

    def replay(self) -> Replay[str]:
        return self.held.replay()

    def hold(self, value: str) -> str:
        """Hold the attribute at a value; return what was refused."""
        state = self.held.hold({LATENCY: value})[LATENCY]
        assert (state.outcome is Outcome.REFUSED) == bool(state.problem)
        return state.problem

    def hold_many(self, number: int) -> None:
        for values in self.sequences[number]:
            self.held.hold(values)

    def refresh(self) -> None:
        self.held.refresh()


Holder = HeldMaximum | HeldLatency
HOLDERS = (HeldMaximum, HeldLatency)


@pytest.fixture
def tree(root: Path) -> RefusingTree:
    """Four CPUs that have everything."""
    tree = RefusingTree(root)
    add_everything(tree)
    return tree


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "held.json"


@pytest.fixture(params=HOLDERS)
def kind(request: pytest.FixtureRequest) -> type[Holder]:
    found: type[Holder] = request.param
    return found


@pytest.mark.parametrize("last", range(7))
@pytest.mark.parametrize(
    ("kind", "number"),
    [(kind, number) for kind in HOLDERS for number in range(len(kind.sequences))],
)
def test_a_death_at_any_write_leaves_what_the_next_start_restores(
    tree: CpuTree, journal_path: Path, kind: type[Holder], number: int, last: int
) -> None:
    before = read_all(tree.root)
    holder = kind(DyingTree(tree.root, last=last), journal_path)
    with contextlib.suppress(Death):
        holder.hold_many(number)
    assert not kind(tree, journal_path).replay().kept
    assert read_all(tree.root) == before
    assert not journal_path.exists()


@pytest.mark.parametrize("last", range(4))
def test_a_death_while_journalling_leaves_what_the_next_start_restores(
    tree: CpuTree, journal_path: Path, kind: type[Holder], last: int
) -> None:
    before = read_all(tree.root)
    holder = kind(tree, journal_path, dying_sync(last))
    with pytest.raises(Death):
        holder.hold_many(-1)
    kind(tree, journal_path).replay()
    assert read_all(tree.root) == before


def test_without_a_journal_on_disk_nothing_is_written(
    tree: CpuTree, tmp_path: Path, kind: type[Holder]
) -> None:
    path = tmp_path / "missing" / "held.json"
    holder, before = kind(tree, path), value_of(tree, kind.path)
    assert str(path) in holder.hold(kind.value)
    assert value_of(tree, kind.path) == before
    path.parent.mkdir()
    holder.refresh()
    assert value_of(tree, kind.path) == kind.value


def test_a_journal_that_was_removed_is_written_again(
    tree: CpuTree, journal_path: Path, kind: type[Holder]
) -> None:
    holder, before = kind(tree, journal_path), value_of(tree, kind.path)
    holder.hold(kind.value)
    journal_path.unlink()
    holder.refresh()
    assert len(kind(tree, journal_path).replay().restored) == 1
    assert value_of(tree, kind.path) == before


def test_a_refused_write_leaves_nothing_to_restore(
    tree: RefusingTree, journal_path: Path, kind: type[Holder]
) -> None:
    holder = kind(tree, journal_path)
    tree.unwritable[kind.path] = BUSY
    assert "EBUSY" in holder.hold(kind.value)
    assert not journal_path.exists()
    change(tree, kind.path, kind.changed)
    tree.unwritable.clear()
    holder.refresh()
    assert value_of(tree, kind.path) == kind.value
    holder.held.restore_all()
    assert value_of(tree, kind.path) == kind.changed


def test_a_journal_of_another_boot_is_set_aside(
    tree: CpuTree, journal_path: Path, kind: type[Holder]
) -> None:
    kind(tree, journal_path).hold(kind.value)
    rewrite(journal_path, boot_id="another")
    assert kind(tree, journal_path).replay().set_aside is not None
    assert value_of(tree, kind.path) == kind.value
