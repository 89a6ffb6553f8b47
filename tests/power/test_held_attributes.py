# SPDX-License-Identifier: Apache-2.0
"""Attributes are held at a value while it is wanted, and restored."""

from __future__ import annotations

import itertools
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.power.attribute_journal import (
    ATTRIBUTE_JOURNAL_NAME,
    AttributeJournal,
)
from orchestrator.power.attribute_kinds import (
    BOOST,
    ENERGY_PREFERENCE,
    IDLE_LATENCY,
    KINDS,
    NO_TURBO,
    UNCORE_MAX,
    UNCORE_MIN,
    kind_of,
    name_attributes,
)
from orchestrator.power.attribute_state import Outcome
from orchestrator.power.held_attributes import HeldAttributes
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CPU_DIR, CpuTree, policy_path
from tests.power.attribute_files import (
    DIES,
    add_everything,
    add_no_turbo,
    add_preferences,
    change,
    latency_path,
    preference_path,
    recreate,
    uncore_path,
    value_of,
)
from tests.power.conftest import read_all, rewrite
from tests.power.failing_trees import (
    BUSY,
    DENIED,
    INVALID,
    RefusingTree,
)
from tests.properties import examples
from tests.rig.waiting import DEADLINE_S

if TYPE_CHECKING:
    from orchestrator.power.replay import Replay

LATENCY, PREFERENCE = latency_path(), preference_path()
UMIN, UMAX = uncore_path("min_freq_khz"), uncore_path("max_freq_khz")
GOVERNOR = policy_path(0, "scaling_governor")


@pytest.fixture
def tree(root: Path) -> RefusingTree:
    """Four CPUs that have everything."""
    tree = RefusingTree(root)
    add_everything(tree)
    return tree


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / ATTRIBUTE_JOURNAL_NAME


@pytest.fixture
def held(tree: CpuTree, journal_path: Path) -> HeldAttributes:
    return HeldAttributes(tree, AttributeJournal(journal_path, tree))


def replay(tree: CpuTree, path: Path) -> Replay[str]:
    """Start again after a death."""
    return HeldAttributes(tree, AttributeJournal(path, tree)).replay()


def test_values_are_held_and_restored_exactly(
    tree: CpuTree, held: HeldAttributes, journal_path: Path
) -> None:
    before = read_all(tree.root)
    states = held.hold({LATENCY: "50", PREFERENCE: "power"})
    assert {state.outcome for state in states.values()} == {Outcome.HELD}
    assert (value_of(tree, LATENCY), value_of(tree, PREFERENCE)) == ("50", "power")
    assert held.hold({LATENCY: None})[LATENCY].outcome is Outcome.RELEASED
    assert value_of(tree, LATENCY) == "0"
    assert journal_path.exists()
    assert held.restore_all().restored == (PREFERENCE,)
    assert read_all(tree.root) == before
    assert not journal_path.exists()


def test_what_is_known_is_not_reported_again(held: HeldAttributes) -> None:
    assert held.hold({LATENCY: "50"})
    assert held.hold({LATENCY: "50"}) == {}
    assert held.refresh() == {}


def test_another_value_replaces_ours_and_keeps_the_original(
    tree: CpuTree, held: HeldAttributes
) -> None:
    for value in ("power", "balance_power", "128"):
        held.hold({PREFERENCE: value})
    held.hold({PREFERENCE: "64"})
    assert value_of(tree, PREFERENCE) == "64"
    held.restore_all()
    assert value_of(tree, PREFERENCE) == "balance_performance"


def test_all_files_of_a_kind_are_held_except_those_that_are_named(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({IDLE_LATENCY.every: "100", latency_path(2): "20"})
    found = [value_of(tree, latency_path(pcpu)) for pcpu in range(4)]
    assert found == ["100", "100", "20", "100"]
    held.hold({latency_path(2): None})
    assert value_of(tree, latency_path(2)) == "100"
    held.hold({IDLE_LATENCY.every: None})
    assert {value_of(tree, latency_path(pcpu)) for pcpu in range(4)} == {"0"}


def test_a_die_that_appears_later_is_held_too(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({UNCORE_MAX.every: "1800000"})
    new = tree.cpu_dir / "intel_uncore_frequency" / "package_02_die_01"
    new.mkdir()
    (new / "max_freq_khz").write_text("2000000\n")
    held.refresh()
    assert value_of(tree, uncore_path("max_freq_khz", new.name)) == "1800000"


def test_a_kind_that_the_kernel_does_not_have_is_reported_until_it_appears(
    tree: CpuTree, held: HeldAttributes
) -> None:
    directory, key = tree.cpu_dir / "intel_uncore_frequency", UNCORE_MAX.every
    directory.rename(tree.root / "unloaded")
    assert held.hold({key: "1800000"})[key].outcome is Outcome.ABSENT
    assert name_attributes([key]) == "highest uncore frequency"
    assert held.refresh() == {}
    (tree.root / "unloaded").rename(directory)
    states = held.refresh()
    assert (states[key].outcome, states[UMAX].outcome) == (
        Outcome.RELEASED,
        Outcome.HELD,
    )
    directory.rename(tree.root / "unloaded")
    held.refresh()
    assert held.hold({key: None})[UMAX].outcome is Outcome.RELEASED
    assert held.refresh() == {}


# What other programs do


def test_another_program_s_later_value_is_left_reported_once_and_not_restored(
    tree: RefusingTree, held: HeldAttributes, journal_path: Path
) -> None:
    held.hold({PREFERENCE: "power"})
    change(tree, PREFERENCE, "balance_power")
    state = held.refresh()[PREFERENCE]
    assert (state.outcome, state.value) == (Outcome.LEFT, "balance_power")
    tree.written.clear()
    assert held.refresh() == {}
    assert held.hold({LATENCY: None}) == {}
    assert tree.written == []
    assert not journal_path.exists()
    held.restore_all()
    assert value_of(tree, PREFERENCE) == "balance_power"


def test_a_new_decision_replaces_another_program_s_value(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({PREFERENCE: "power"})
    change(tree, PREFERENCE, "balance_power")
    held.refresh()
    held.hold({PREFERENCE: "performance"})
    assert value_of(tree, PREFERENCE) == "performance"
    held.restore_all()
    assert value_of(tree, PREFERENCE) == "balance_power"


def test_another_decision_for_other_files_replaces_no_value_of_another_program(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({ENERGY_PREFERENCE.every: "power", PREFERENCE: "200"})
    change(tree, PREFERENCE, "balance_power")
    held.refresh()
    held.hold({ENERGY_PREFERENCE.every: "64"})
    assert value_of(tree, PREFERENCE) == "balance_power"
    assert value_of(tree, preference_path(1)) == "64"


def test_another_program_s_value_stays_when_ours_ends(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({LATENCY: "50"})
    change(tree, LATENCY, "10")
    assert held.hold({LATENCY: None})[LATENCY].outcome is Outcome.RELEASED
    assert value_of(tree, LATENCY) == "10"


@pytest.mark.parametrize(
    ("there", "wanted", "after"),
    [
        ("10", "50", "10"),
        ("n/a", "50", "n/a"),
        ("0", "50", "50"),
        ("200", "50", "50"),
        ("50", "n/a", "n/a"),
    ],
)
def test_a_stricter_latency_of_another_program_is_sufficient(
    tree: CpuTree, held: HeldAttributes, there: str, wanted: str, after: str
) -> None:
    change(tree, LATENCY, there)
    held.hold({LATENCY: wanted})
    assert value_of(tree, LATENCY) == after
    held.restore_all()
    assert value_of(tree, LATENCY) == there


def test_a_latency_that_is_raised_above_the_original_restores_it(
    tree: CpuTree, held: HeldAttributes, journal_path: Path
) -> None:
    change(tree, LATENCY, "100")
    held.hold({LATENCY: "50"})
    assert held.hold({LATENCY: "200"})[LATENCY].outcome is Outcome.SUFFICIENT
    assert value_of(tree, LATENCY) == "100"
    assert not journal_path.exists()


# The kernel


def test_an_attribute_that_does_not_exist_is_not_offered_and_no_error(
    tree: CpuTree, held: HeldAttributes, journal_path: Path
) -> None:
    path = preference_path(77)
    assert held.hold({path: "power"})[path] == (Outcome.ABSENT, "", "", ())
    assert not journal_path.exists()
    (tree.root / path).parent.mkdir()
    change(tree, path, "performance")
    assert held.refresh()[path].outcome is Outcome.HELD


def test_offline_cpus_are_tried_again(tree: RefusingTree, held: HeldAttributes) -> None:
    tree.unreadable[PREFERENCE] = BUSY
    state = held.hold({PREFERENCE: "power"})[PREFERENCE]
    assert (state.outcome, "EBUSY" in state.problem) == (Outcome.REFUSED, True)
    tree.unreadable.clear()
    assert held.refresh()[PREFERENCE].outcome is Outcome.HELD
    tree.unreadable[PREFERENCE] = BUSY
    assert PREFERENCE in held.restore_all().kept
    tree.unreadable.clear()
    held.refresh()
    assert value_of(tree, PREFERENCE) == "balance_performance"


def test_after_a_change_of_the_driver_s_mode_the_new_file_s_value_is_the_original(
    tree: CpuTree, held: HeldAttributes, journal_path: Path
) -> None:
    held.hold({PREFERENCE: "power"})
    recreate(tree, PREFERENCE, "performance")
    held.refresh()
    assert value_of(tree, PREFERENCE) == "power"
    assert "balance_performance" not in journal_path.read_text()
    held.restore_all()
    assert value_of(tree, PREFERENCE) == "performance"


def test_a_value_that_outlives_the_driver_s_mode_keeps_its_original(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({PREFERENCE: "power"})
    (tree.root / PREFERENCE).rename(tree.root / "gone")
    assert held.refresh()[PREFERENCE].outcome is Outcome.ABSENT
    (tree.root / "gone").rename(tree.root / PREFERENCE)
    recreate(tree, PREFERENCE, "power")  # in its register
    assert held.refresh()[PREFERENCE].outcome is Outcome.HELD
    held.restore_all()
    assert value_of(tree, PREFERENCE) == "balance_performance"


def test_the_original_of_a_file_that_is_gone_is_forgotten(
    tree: RefusingTree, held: HeldAttributes, journal_path: Path
) -> None:
    held.hold({PREFERENCE: "power"})
    (tree.root / PREFERENCE).unlink()
    done = held.restore_all()
    assert (done.left, done.kept) == ((PREFERENCE,), {})
    assert not journal_path.exists()


# Energy preferences


def test_a_number_that_has_a_word_is_recognized_by_it(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({PREFERENCE: "192"})
    assert value_of(tree, PREFERENCE) == "balance_power"
    assert held.refresh() == {}


def test_a_preference_that_the_kernel_does_not_list_is_refused_with_its_list(
    tree: CpuTree, held: HeldAttributes
) -> None:
    listed = policy_path(0, "energy_performance_available_preferences")
    change(tree, listed, "performance power ")
    state = held.hold({PREFERENCE: "balance_power"})[PREFERENCE]
    assert state.problem == (
        "invalid energy preference 'balance_power': expected performance, power"
    )
    assert value_of(tree, PREFERENCE) == "balance_performance"


def test_under_governor_performance_the_preference_is_hidden_not_changed(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({PREFERENCE: "power"})
    change(tree, GOVERNOR, "performance")
    change(tree, PREFERENCE, "performance")
    state = held.refresh()[PREFERENCE]
    assert (state.outcome, state.problem) == (
        Outcome.REFUSED,
        "the governor is performance",
    )
    change(tree, GOVERNOR, "powersave")  # intel_pstate shows the earlier one again
    change(tree, PREFERENCE, "power")
    assert held.refresh()[PREFERENCE].outcome is Outcome.HELD
    held.restore_all()
    assert value_of(tree, PREFERENCE) == "balance_performance"


def test_performance_is_not_written_again_under_governor_performance(
    tree: RefusingTree, held: HeldAttributes
) -> None:
    change(tree, GOVERNOR, "performance")
    change(tree, PREFERENCE, "performance")
    tree.unwritable[PREFERENCE] = BUSY
    assert held.hold({PREFERENCE: "performance"})[PREFERENCE].outcome is (
        Outcome.SUFFICIENT
    )


def test_a_suspended_preference_is_left_alone_and_held_again_afterwards(
    tree: RefusingTree, held: HeldAttributes
) -> None:
    held.hold({PREFERENCE: "power"})
    tree.written.clear()
    held.suspend(0)
    change(tree, PREFERENCE, "performance")
    assert held.refresh()[PREFERENCE].outcome is Outcome.SUSPENDED
    held.hold({PREFERENCE: "balance_power", LATENCY: "50"})
    assert tree.written == [LATENCY]
    held.resume(0)  # the value of a driver that does not restore it
    assert value_of(tree, PREFERENCE) == "balance_power"
    held.restore_all()
    assert value_of(tree, PREFERENCE) == "balance_performance"


def test_what_ends_while_it_is_suspended_is_restored_afterwards(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({PREFERENCE: "power"})
    held.suspend(0)
    change(tree, PREFERENCE, "performance")
    held.hold({PREFERENCE: None})
    assert value_of(tree, PREFERENCE) == "performance"
    held.resume(0)
    assert value_of(tree, PREFERENCE) == "balance_performance"


def test_the_end_of_the_daemon_restores_what_is_suspended(
    tree: CpuTree, held: HeldAttributes, journal_path: Path
) -> None:
    held.hold({PREFERENCE: "power"})
    held.suspend(0)
    change(tree, PREFERENCE, "performance")
    assert held.restore_all().restored == (PREFERENCE,)
    assert value_of(tree, PREFERENCE) == "balance_performance"
    assert not journal_path.exists()


def test_another_program_s_value_after_a_resumption_is_left(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({PREFERENCE: "power"})
    held.suspend(0)
    held.resume(0)
    change(tree, PREFERENCE, "balance_power")
    assert held.refresh()[PREFERENCE].outcome is Outcome.LEFT


class SlowWrite(CpuTree):
    """Stops at a write until it may go on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def open(self, relative: str, *, writable: bool) -> int:
        if writable:
            self.has_begun.set()
            assert self.may_end.wait(DEADLINE_S)
        return super().open(relative, writable=writable)


def test_a_suspension_waits_for_a_write_that_is_under_way(
    tree: CpuTree, journal_path: Path
) -> None:
    slow = SlowWrite(tree.root)
    held = HeldAttributes(slow, AttributeJournal(journal_path, slow))
    order: list[str] = []

    def hold() -> None:
        held.hold({PREFERENCE: "power"})

    def suspend() -> None:
        held.suspend(0)
        order.append(value_of(tree, PREFERENCE))

    threads = [threading.Thread(target=hold)]
    threads[0].start()
    assert slow.has_begun.wait(DEADLINE_S)
    threads.append(threading.Thread(target=suspend))
    threads[1].start()
    assert order == []
    slow.may_end.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert order == ["power"]


# Uncore frequencies


@pytest.mark.parametrize(
    ("low", "high", "order"),
    [
        ("2600000", "3000000", [UMAX, UMIN]),
        ("800000", "1000000", [UMIN, UMAX]),
        ("1500000", "2000000", [UMIN, UMAX]),
        ("900000", "10000000", [UMAX, UMIN]),
    ],
)
def test_the_minimum_is_never_above_the_maximum(
    tree: RefusingTree, held: HeldAttributes, low: str, high: str, order: list[str]
) -> None:
    for _ in range(2):
        held.hold({UMIN: low, UMAX: high})
        assert (value_of(tree, UMIN), value_of(tree, UMAX)) == (low, high)
        assert tree.written == order
        tree.written.clear()
        held.hold({UMIN: None, UMAX: None})
        assert tree.written == ([UMIN, UMAX] if order[0] == UMAX else [UMAX, UMIN])
        tree.written.clear()


def test_uncore_frequencies_are_rounded_down_as_the_kernel_does(
    tree: CpuTree, held: HeldAttributes
) -> None:
    held.hold({UNCORE_MIN.every: "1550000"})
    assert {value_of(tree, uncore_path("min_freq_khz", die)) for die in DIES} == {
        "1500000"
    }
    assert held.refresh() == {}


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (UMIN, "2500000", "2.50 GHz is above its maximum, 2.40 GHz"),
        (UMAX, "1100000", "1.10 GHz is below its minimum, 1.20 GHz"),
    ],
)
def test_a_limit_beyond_the_other_one_is_refused_for_the_kernel_would_take_it(
    tree: CpuTree, held: HeldAttributes, path: str, value: str, problem: str
) -> None:
    before = value_of(tree, path)
    assert held.hold({path: value})[path].problem == problem
    assert value_of(tree, path) == before


# Turbo


def test_a_turbo_that_the_firmware_forbids_is_reported_once_and_forgotten(
    tree: RefusingTree, held: HeldAttributes, journal_path: Path
) -> None:
    add_no_turbo(tree)
    held.hold({NO_TURBO.every: "1", BOOST.every: "0"})
    assert value_of(tree, NO_TURBO.every) == "1"
    tree.unwritable[NO_TURBO.every] = DENIED
    states = held.hold({NO_TURBO.every: None, BOOST.every: None})
    assert "EPERM" in states[NO_TURBO.every].problem
    assert held.refresh() == {}
    assert held.restore_all().kept == {}
    assert not journal_path.exists()


def test_a_restore_that_is_refused_for_good_is_reported_at_the_end(
    tree: RefusingTree, held: HeldAttributes
) -> None:
    held.hold({BOOST.every: "0"})
    tree.unwritable[BOOST.every] = INVALID
    done = held.restore_all()
    assert (done.kept, "EINVAL" in done.refused[BOOST.every]) == ({}, True)


# After a death


def test_a_replay_reports_what_was_restored_and_what_another_program_has_changed(
    tree: RefusingTree, held: HeldAttributes, journal_path: Path
) -> None:
    paths = [latency_path(pcpu) for pcpu in range(4)]
    held.hold(dict.fromkeys(paths, "50"))
    change(tree, paths[1], "20")
    tree.unreadable[paths[2]] = BUSY
    (tree.root / paths[3]).unlink()
    done = replay(tree, journal_path)
    assert (done.restored, done.left) == ((paths[0],), (paths[1], paths[3]))
    assert list(done.kept) == [paths[2]]
    assert value_of(tree, paths[1]) == "20"
    tree.unreadable.clear()
    assert replay(tree, journal_path).restored == (paths[2],)


@pytest.mark.parametrize(
    ("number", "path"),
    [
        ("1", LATENCY),
        ("0", f"{CPU_DIR}/cpu0/power/control"),
        ("0", f"{CPU_DIR}/cpu0/../cpu0/power/pm_qos_resume_latency_us"),
        ("0", IDLE_LATENCY.every),
        ("0", policy_path(0, "scaling_governor")),
        ("0", f"{CPU_DIR}/cpu0/power/pm_qos_resume_latency_us\n"),
    ],
)
def test_a_journal_names_only_attributes_that_are_held(
    tree: CpuTree, held: HeldAttributes, journal_path: Path, number: str, path: str
) -> None:
    held.hold({LATENCY: "50"})
    entry = {"path": path, "value": "0\n", "ours": "50"}
    rewrite(journal_path, groups={number: [entry]})
    done = replay(tree, journal_path)
    assert "is not an attribute that vmpowerd sets" in done.reason
    assert value_of(tree, LATENCY) == "50"


# The table


def test_each_kind_names_its_own_files_and_no_others() -> None:
    for kind, other in itertools.permutations(KINDS, 2):
        path = kind.path_of(3)
        assert (kind_of(path), kind_of(kind.every)) == (kind, kind)
        assert not other.has(path)
    assert IDLE_LATENCY.number_of(latency_path(12)) == 12
    assert not ENERGY_PREFERENCE.has(preference_path(1) + "x")


def test_attributes_are_named_for_people() -> None:
    paths = [latency_path(2), latency_path(3), preference_path(1), UMIN, NO_TURBO.every]
    assert name_attributes(paths) == (
        "idle latency of CPUs 2-3, energy preference of clock group 1,"
        " turbo (intel_pstate/no_turbo), lowest uncore frequency of package_00_die_00"
    )


def test_a_latency_permits_the_idle_states_that_are_left_within_it(
    held: HeldAttributes,
) -> None:
    for value, expected in {
        "n/a": ("POLL",),
        "1": ("POLL",),
        "10": ("POLL", "C1"),
        "50": ("POLL", "C1", "C2"),
        "199": ("POLL", "C1", "C2"),
        "200": ("POLL", "C1", "C2", "C3"),
    }.items():
        assert held.hold({LATENCY: value})[LATENCY].effect == expected


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("hold"), st.sampled_from((None, "power", "balance_power", "30"))
        ),
        st.tuples(st.just("others"), st.sampled_from(("performance", "77"))),
        st.tuples(st.just("mode"), st.sampled_from(("performance", "88"))),
        st.tuples(st.just("die"), st.none()),
        st.tuples(st.just("suspend"), st.none()),
        st.tuples(st.just("resume"), st.none()),
    ),
    max_size=10,
)


@settings(deadline=None, max_examples=examples(60))
@given(OPERATIONS)
def test_whatever_happens_the_others_value_is_there_at_the_end(
    operations: list[tuple[str, str | None]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        lay_out(Path(name) / "sys", cpus=1)
        tree = CpuTree(Path(name) / "sys")
        add_preferences(tree)
        journal = AttributeJournal(Path(name) / ATTRIBUTE_JOURNAL_NAME, tree)
        held, others = HeldAttributes(tree, journal), "balance_performance"
        is_suspended = False
        for kind, value in operations:
            if kind == "hold":
                held.hold({PREFERENCE: value})
            elif kind == "die":
                held, is_suspended = HeldAttributes(tree, journal), False
                assert held.replay().kept == {}
            elif kind == "suspend":
                held.suspend(0)
                is_suspended = True
            elif kind == "resume":
                held.resume(0)
                is_suspended = False
            elif value is not None and not is_suspended:
                others = value
                (recreate if kind == "mode" else change)(tree, PREFERENCE, value)
                held.refresh()
        assert held.restore_all().kept == {}
        assert value_of(tree, PREFERENCE) == others
        assert not (Path(name) / ATTRIBUTE_JOURNAL_NAME).exists()
