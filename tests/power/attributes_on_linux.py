# SPDX-License-Identifier: Apache-2.0
"""Holds the attributes that a kernel has at every value, and restores them.

Run as a program with the root of a CPU tree, in a machine whose settings may be
changed: `python3 -m tests.power.attributes_on_linux /sys`. It prints `ok` and the check
for each that passed, with what it was tried on, and imports no pytest: a lab has none.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

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
    AttributeKind,
    kind_of,
)
from orchestrator.power.attribute_state import Outcome
from orchestrator.power.held_attributes import HeldAttributes
from orchestrator.power.sysfs import CPU_DIR, CpuTree, first_line

VALUES = {
    IDLE_LATENCY: ("1", "50", "199", "2000", "n/a"),
    ENERGY_PREFERENCE: ("power", "balance_power", "performance"),
    UNCORE_MIN: ("1300000", "1000000"),
    UNCORE_MAX: ("2100000", "1800000"),
    BOOST: ("0",),
    NO_TURBO: ("1",),
}


def _pass(check: str) -> None:
    sys.stdout.write(f"ok {check}\n")


def find_attributes(tree: CpuTree, kind: AttributeKind) -> list[str]:
    """Return the attributes of a kind that the kernel has, by path."""
    found = (str(it.relative_to(tree.root)) for it in tree.root.glob(kind.every))
    return sorted(filter(kind.has, found))


def new_holder(tree: CpuTree, directory: Path) -> HeldAttributes:
    """Start, as a daemon does; what an earlier one left is not restored yet."""
    journal = AttributeJournal(directory / ATTRIBUTE_JOURNAL_NAME, tree)
    return HeldAttributes(tree, journal)


def check_every_value_is_held_and_restored(tree: CpuTree, directory: Path) -> None:
    for kind in KINDS:
        paths = find_attributes(tree, kind)
        before = {path: tree.read_bytes(path) for path in paths}
        for value in VALUES[kind]:
            held = new_holder(tree, directory)
            for path, state in held.hold(dict.fromkeys(paths, value)).items():
                assert state.outcome in (Outcome.HELD, Outcome.SUFFICIENT), state
                shown = kind.canonical(tree.read(path))
                assert kind.is_enough(shown, kind.canonical(value)), (path, shown)
            assert held.refresh() == {}
            assert held.restore_all().kept == {}
            assert {path: tree.read_bytes(path) for path in paths} == before
        _pass(f"every value of {kind.noun} ({len(paths)} files)")


def check_a_crash_is_undone_by_the_next_start(tree: CpuTree, directory: Path) -> None:
    paths = [path for kind in KINDS for path in find_attributes(tree, kind)]
    before = {path: tree.read_bytes(path) for path in paths}
    wanted = {path: VALUES[kind_of(path)][0] for path in paths}
    new_holder(tree, directory).hold(wanted)
    replay = new_holder(tree, directory).replay()
    assert (replay.kept, replay.refused, replay.left) == ({}, {}, ())
    assert {path: tree.read_bytes(path) for path in paths} == before
    _pass(f"a crash is undone ({len(replay.restored)} files)")


def check_a_value_that_another_program_writes_is_left(
    tree: CpuTree, directory: Path
) -> None:
    path = find_attributes(tree, IDLE_LATENCY)[0]
    held = new_holder(tree, directory)
    held.hold({path: "50"})
    (tree.root / path).write_text("199\n", encoding="ascii")
    assert held.refresh()[path].outcome is Outcome.LEFT
    held.restore_all()
    assert tree.read(path) == "199"
    (tree.root / path).write_text("0\n", encoding="ascii")
    _pass("another program's value is left")


def check_the_idle_latency_of_an_offline_cpu_is_held_and_restored(
    tree: CpuTree, directory: Path
) -> None:
    switch = tree.root / CPU_DIR / "cpu1" / "online"
    path, held = IDLE_LATENCY.path_of(1), new_holder(tree, directory)
    held.hold({path: "50"})
    switch.write_text("0\n", encoding="ascii")
    try:
        assert held.refresh() == {}
        assert held.hold({path: "10"})[path].outcome is Outcome.HELD
    finally:
        switch.write_text("1\n", encoding="ascii")
    assert first_line(tree.read_bytes(path)) == "10"
    assert held.restore_all().restored == (path,)
    assert tree.read(path) == "0"
    _pass("an offline CPU")


def permit_every_preference(tree: CpuTree) -> None:
    """Leave the governor performance, which permits no other preference."""
    for path in find_attributes(tree, ENERGY_PREFERENCE):
        governor = (tree.root / path).with_name("scaling_governor")
        if governor.read_text(encoding="ascii").startswith("performance"):
            governor.write_text("powersave\n", encoding="ascii")


def main(root: str) -> None:
    """Run all checks; the first that fails is shown."""
    permit_every_preference(CpuTree(Path(root)))
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            with tempfile.TemporaryDirectory() as directory:
                check(CpuTree(Path(root)), Path(directory))


if __name__ == "__main__":
    main(sys.argv[1])
