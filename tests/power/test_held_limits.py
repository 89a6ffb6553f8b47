# SPDX-License-Identifier: Apache-2.0
"""Clock groups are held within limits by the kernel's attributes, and restored."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.limits import NO_LIMITS, UNLIMITED_KHZ, Limits
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.kernel_limits import MAX, MIN
from orchestrator.power.limit_journal import LimitJournal
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree, policy_path
from tests.power.conftest import read_all, rewrite
from tests.properties import examples

if TYPE_CHECKING:
    from orchestrator.power.replay import Replay

LOWEST, HIGHEST = 1_200_000, 3_001_000
LOW, MIDDLE, HIGH = 1_500_000, 2_100_000, 2_400_000


class SlowTree(CpuTree):
    """Shows a written value only later, as the kernel's work queue does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._late: dict[str, list[bytes]] = {}

    def open(self, relative: str, *, writable: bool) -> int:
        if writable:
            self._late[relative] = [super().read_bytes(relative)] * 3
        return super().open(relative, writable=writable)

    def read_bytes(self, relative: str) -> bytes:
        late = self._late.get(relative)
        return late.pop() if late else super().read_bytes(relative)


@pytest.fixture
def limits_path(tmp_path: Path) -> Path:
    return tmp_path / "limits.json"


@pytest.fixture
def held(tree: CpuTree, limits_path: Path) -> HeldLimits:
    return HeldLimits(tree, LimitJournal(limits_path, tree))


def kernel(tree: CpuTree, number: int = 0) -> tuple[int | None, int | None]:
    return (
        tree.read_khz(policy_path(number, MIN)),
        tree.read_khz(policy_path(number, MAX)),
    )


def write(tree: CpuTree, name: str, khz: int, number: int = 0) -> None:
    """Do as another program, the firmware or the kernel itself does."""
    (tree.root / policy_path(number, name)).write_text(f"{khz}\n")


def replay(tree: CpuTree, path: Path) -> Replay[int]:
    """Start again after a death."""
    return HeldLimits(tree, LimitJournal(path, tree)).replay()


def test_limits_are_held_and_restored_exactly(
    tree: CpuTree, held: HeldLimits, limits_path: Path
) -> None:
    before = read_all(tree.root)
    held.hold({0: Limits(LOW, MIDDLE), 1: Limits(max_khz=HIGH)})
    assert kernel(tree, 0) == (LOW, MIDDLE)
    assert kernel(tree, 1) == (LOWEST, HIGH)
    assert kernel(tree, 2) == (LOWEST, HIGHEST)
    held.hold({0: NO_LIMITS})
    assert kernel(tree, 0) == (LOWEST, HIGHEST)
    assert limits_path.exists()
    assert held.restore_all() == []
    assert read_all(tree.root) == before
    assert not limits_path.exists()


def test_what_vmpowerd_wrote_is_not_the_limit_of_the_others(
    tree: CpuTree, held: HeldLimits
) -> None:
    write(tree, MAX, 2_700_000)
    read = held.hold({0: Limits(max_khz=MIDDLE)})
    assert read[0].limits == (LOWEST, 2_700_000)
    assert read[0].held == (0, MIDDLE)
    assert held.refresh([0]) == {}
    held.hold({0: Limits(max_khz=HIGH)})
    assert held.refresh([0], is_complete=True)[0].limits == (LOWEST, 2_700_000)
    held.restore_all()
    assert kernel(tree) == (LOWEST, 2_700_000)


def test_a_limit_that_is_no_narrower_writes_nothing(
    tree: CpuTree, held: HeldLimits, limits_path: Path
) -> None:
    write(tree, MAX, LOW)
    read = held.hold({0: Limits(max_khz=MIDDLE)})
    assert (read[0].limits.max_khz, read[0].held) == (LOW, NO_LIMITS)
    assert kernel(tree) == (LOWEST, LOW)
    assert not limits_path.exists()


@pytest.mark.parametrize(
    ("name", "khz", "expected"),
    [(MAX, 2_700_000, (LOW, MIDDLE)), (MIN, LOWEST, (LOW, MIDDLE))],
)
def test_a_wider_limit_of_another_program_is_the_new_original_and_ours_holds(
    tree: CpuTree, held: HeldLimits, name: str, khz: int, expected: tuple[int, int]
) -> None:
    write(tree, MIN, 1_400_000)
    held.hold({0: Limits(LOW, MIDDLE)})
    write(tree, name, khz)
    read = held.refresh([0])[0]
    assert khz in read.limits
    assert kernel(tree) == expected
    held.restore_all()
    assert khz in kernel(tree)


def test_a_narrower_limit_of_another_program_counts_and_stays(
    tree: CpuTree, held: HeldLimits
) -> None:
    held.hold({0: Limits(max_khz=MIDDLE)})
    write(tree, MAX, LOW)
    assert held.refresh([0])[0].limits.max_khz == LOW
    assert kernel(tree) == (LOWEST, LOW)
    assert held.restore_all() == []
    assert kernel(tree) == (LOWEST, LOW)


def test_a_cooling_device_s_limit_counts_until_it_ends(
    tree: CpuTree, held: HeldLimits
) -> None:
    held.hold({0: Limits(max_khz=MIDDLE)})
    write(tree, MAX, LOW)
    assert held.refresh([0])[0].limits.max_khz == LOW
    write(tree, MAX, MIDDLE)  # what vmpowerd wrote is in force again
    assert held.refresh([0])[0].limits.max_khz == HIGHEST
    held.restore_all()
    assert kernel(tree) == (LOWEST, HIGHEST)


def test_a_narrower_limit_of_ours_replaces_that_of_another_program(
    tree: CpuTree, held: HeldLimits
) -> None:
    held.hold({0: Limits(max_khz=HIGH)})
    write(tree, MAX, MIDDLE)
    held.hold({0: Limits(max_khz=LOW)})
    assert kernel(tree) == (LOWEST, LOW)
    held.restore_all()
    assert kernel(tree) == (LOWEST, MIDDLE)


def test_the_firmware_s_limit_counts_and_hides_no_original(
    tree: CpuTree, held: HeldLimits
) -> None:
    held.hold({0: Limits(max_khz=MIDDLE)})
    write(tree, "bios_limit", LOW)
    write(tree, MAX, LOW)  # as the kernel shows it
    assert held.refresh([0])[0].limits.max_khz == LOW
    held.restore_all()
    assert kernel(tree) == (LOWEST, HIGHEST)


def test_a_limit_that_begins_below_the_firmware_s_ends_with_the_hardware_s_maximum(
    tree: CpuTree, held: HeldLimits
) -> None:
    write(tree, "bios_limit", MIDDLE)
    write(tree, MAX, MIDDLE)
    assert held.hold({0: Limits(max_khz=LOW)})[0].limits.max_khz == MIDDLE
    held.restore_all()
    assert kernel(tree) == (LOWEST, HIGHEST)


def test_a_minimum_above_another_program_s_maximum_is_lowered_until_it_fits(
    tree: CpuTree, held: HeldLimits
) -> None:
    held.hold({0: Limits(min_khz=MIDDLE)})
    write(tree, MAX, LOW)
    write(tree, MIN, LOW)  # the kernel shows a minimum above the maximum like this
    assert held.refresh([0])[0].limits == (LOWEST, LOW)
    write(tree, MAX, HIGHEST)
    held.refresh([0])
    assert kernel(tree) == (MIDDLE, HIGHEST)
    held.restore_all()
    assert kernel(tree) == (LOWEST, HIGHEST)


@pytest.mark.parametrize("own", [False, True])
def test_boost_that_is_switched_off_is_seen(
    tree: CpuTree, held: HeldLimits, *, own: bool
) -> None:
    boost = tree.cpu_dir / "cpufreq" / ("policy0/boost" if own else "boost")
    boost.write_text("1\n")
    assert not held.refresh([0])[0].is_boost_off
    boost.write_text("0\n")
    read = held.refresh([0])[0]
    name = "policy0/boost" if own else "cpufreq/boost"
    assert (read.is_boost_off, read.turbo_switch) == (True, name)


def test_turbo_that_intel_pstate_forbids_is_seen_with_its_switch(
    tree: CpuTree, held: HeldLimits
) -> None:
    switch = tree.cpu_dir / "intel_pstate" / "no_turbo"
    switch.parent.mkdir()
    switch.write_text("0\n")
    assert not held.refresh([0])[0].is_boost_off
    switch.write_text("1\n")
    read = held.refresh([0])[0]
    assert (read.is_boost_off, read.turbo_switch) == (True, "intel_pstate/no_turbo")


def test_what_the_kernel_refuses_is_reported_and_tried_again(
    tree: CpuTree, held: HeldLimits, tmp_path: Path
) -> None:
    attribute = tree.root / policy_path(0, MAX)
    held.hold({0: Limits(max_khz=MIDDLE)})
    refusing = tmp_path / "refusing"
    refusing.mkdir()
    attribute.rename(tmp_path / "hidden")
    attribute.symlink_to(refusing)
    (refused,) = held.restore_all()
    assert refused.startswith("limits of clock group 0: cannot read ")
    assert "EISDIR" in refused
    attribute.unlink()
    (tmp_path / "hidden").rename(attribute)
    held.refresh([])
    assert kernel(tree) == (LOWEST, HIGHEST)


def test_a_replay_reports_what_was_restored_and_what_another_program_has_changed(
    tree: CpuTree, held: HeldLimits, limits_path: Path
) -> None:
    held.hold(dict.fromkeys(range(3), Limits(max_khz=MIDDLE)))
    write(tree, MAX, LOW, number=1)
    write(tree, MAX, HIGH, number=2)
    done = replay(tree, limits_path)
    assert (done.restored, done.left, done.kept) == ((0,), (1, 2), {})
    assert [kernel(tree, n)[1] for n in range(3)] == [HIGHEST, LOW, HIGH]
    assert replay(tree, limits_path).restored == ()


@pytest.mark.parametrize("key", ["ours", "value"])
def test_a_journal_with_a_value_that_is_not_a_number_is_set_aside(
    tree: CpuTree, held: HeldLimits, limits_path: Path, key: str
) -> None:
    held.hold({0: Limits(max_khz=MIDDLE)})
    groups = json.loads(limits_path.read_text())["groups"]
    groups["0"][0][key] = "fast"
    rewrite(limits_path, groups=groups)
    done = replay(tree, limits_path)
    assert done.set_aside is not None
    assert f"invalid value 'fast' of {policy_path(0, MAX)}" in done.reason


def test_unlimited_means_nothing_held(held: HeldLimits) -> None:
    assert held.refresh([3])[3].held == Limits(0, UNLIMITED_KHZ)


class RequestTree(CpuTree):
    """A tree of one group whose files are requests, and which shows their result.

    As the kernel does: a cooling device narrows the maximum, and a minimum above the
    maximum shows as the maximum.
    """

    cooling_khz = UNLIMITED_KHZ

    def read_bytes(self, relative: str) -> bytes:
        requested = super().read_bytes(relative)
        if not relative.endswith((MAX, MIN)):
            return requested
        top = int(super().read_bytes(policy_path(0, MAX)))
        shown = min(int(requested), top, self.cooling_khz)
        return requested if shown == int(requested) else b"%d\n" % shown


STEPS = tuple(range(1_200_000, 3_000_000, 300_000))
"""What vmpowerd holds; other programs write values between them. A minimum that they
write is below every maximum: the kernel would not show another one."""
OURS = st.one_of(
    st.just(NO_LIMITS),
    st.tuples(
        st.sampled_from((0, *STEPS)), st.sampled_from((*STEPS[1:], UNLIMITED_KHZ))
    )
    .filter(lambda pair: pair[0] <= pair[1])
    .map(lambda pair: Limits(*pair)),
)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), OURS),
        st.tuples(st.just(MAX), st.sampled_from([khz + 100_000 for khz in STEPS[1:]])),
        st.tuples(st.just(MIN), st.sampled_from((1_210_000, 1_310_000, 1_410_000))),
        st.tuples(
            st.just("cool"), st.sampled_from([khz + 200_000 for khz in STEPS[1:]])
        ),
        st.tuples(st.just("die"), st.none()),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=examples(50))
@given(OPERATIONS)
def test_whatever_happens_the_others_requests_are_in_force_at_the_end(
    operations: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        lay_out(Path(name) / "sys", cpus=1)
        tree = RequestTree(Path(name) / "sys")
        journal = LimitJournal(Path(name) / "limits.json", tree)
        held, wanted = HeldLimits(tree, journal), NO_LIMITS
        others = {MAX: HIGHEST, MIN: LOWEST}
        for kind, value in operations:
            if kind == "hold":
                wanted = value
                held.hold({0: wanted})
            elif kind == "cool":
                tree.cooling_khz = value
                read = held.refresh([0], is_complete=True)[0]
                effective = min(read.limits.max_khz, read.held.max_khz)
                assert effective == min(others[MAX], value, wanted.max_khz)
                tree.cooling_khz = UNLIMITED_KHZ
                held.refresh([0])
            elif kind == "die":
                held, wanted = HeldLimits(tree, journal), NO_LIMITS
                assert held.replay().kept == {}
            else:
                others[kind] = value
                write(tree, kind, value)
                held.refresh([0])
            shown = kernel(tree)[1]
            assert shown is not None
            assert shown <= wanted.max_khz
        assert held.restore_all() == []
        requests = {n: CpuTree(tree.root).read_khz(policy_path(0, n)) for n in others}
        assert requests == others


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(OURS, min_size=1, max_size=6))
def test_values_that_the_kernel_shows_late_are_not_taken_for_originals(
    sequence: list[Limits],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        lay_out(Path(name) / "sys", cpus=1)
        tree = SlowTree(Path(name) / "sys")
        held = HeldLimits(tree, LimitJournal(Path(name) / "limits.json", tree))
        for limits in sequence:
            held.hold({0: limits})
        held.restore_all()
        assert kernel(CpuTree(tree.root)) == (LOWEST, HIGHEST)
