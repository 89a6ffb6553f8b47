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

if TYPE_CHECKING:
    from orchestrator.power.sysfs import CpuTree


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


@pytest.mark.rig
def test_linux_s_own_idle_latency_is_held_and_restored() -> None:
    outcome = run_module_in_lab("tests.power.attributes_on_linux", "/sys")
    assert outcome.status == 0, outcome.output
    assert "ok every value of idle latency (4 files)" in outcome.output
    assert "ok an offline CPU" in outcome.output
