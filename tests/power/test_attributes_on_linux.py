# SPDX-License-Identifier: Apache-2.0
"""Attributes are held and restored on simulated files, and by a real kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.power.attribute_kinds import KINDS
from tests.power import attributes_on_linux
from tests.power.attribute_files import (
    add_idle_states,
    add_preferences,
    add_uncore,
)
from tests.power.conftest import read_all
from tests.rig.lab import run_module_in_lab
from tests.rig.labs import AMD_ACTIVE, IDLE_STATES, UNCORE

if TYPE_CHECKING:
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.labs import Lab


def test_every_value_of_every_kind_is_held_and_restored_on_files(
    tree: CpuTree, capsys: pytest.CaptureFixture[str]
) -> None:
    add_idle_states(tree)
    add_preferences(tree)
    add_uncore(tree)
    before = read_all(tree.root)
    attributes_on_linux.main(str(tree.root))
    assert {path: it for path, it in read_all(tree.root).items() if path in before} == (
        before
    )
    passed = [line for line in capsys.readouterr().out.splitlines() if "ok " in line]
    assert len(passed) == len(KINDS) + 3


KINDS_IN = {
    IDLE_STATES: ("idle latency (4 files)",),
    UNCORE: (
        "idle latency (4 files)",
        "energy preference (4 files)",
        "lowest uncore frequency (1 files)",
        "highest uncore frequency (1 files)",
        "turbo (intel_pstate/no_turbo) (1 files)",
    ),
    AMD_ACTIVE: ("idle latency (4 files)", "energy preference (4 files)"),
}
"""What some labs have, in the words of the output."""


@pytest.mark.lab
@pytest.mark.parametrize("lab", KINDS_IN, ids=str, indirect=True)
def test_linux_s_own_attributes_are_held_and_restored(lab: Lab) -> None:
    outcome = run_module_in_lab("tests.power.attributes_on_linux", "/sys", lab=lab)
    assert outcome.status == 0, outcome.output
    for what in KINDS_IN[lab]:
        assert f"ok every value of {what}" in outcome.output, outcome.output
    assert "ok an offline CPU" in outcome.output
