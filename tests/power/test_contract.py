# SPDX-License-Identifier: Apache-2.0
"""The contract on simulated trees; the lab runs it on Linux's own driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.power.topology import read_topology
from tests.power.checked_groups import set_distinct_governors
from tests.power.conftest import read_all
from tests.power.contract import find_checks

if TYPE_CHECKING:
    from orchestrator.power.sysfs import CpuTree
    from tests.power.contract import Check


@pytest.mark.parametrize("check", find_checks(), ids=lambda check: check.__name__)
def test_a_tree_fulfils_the_contract(check: Check, any_tree: CpuTree) -> None:
    topology = read_topology(any_tree)
    assert topology.groups
    set_distinct_governors(any_tree, topology)
    before = read_all(any_tree.root) if any_tree.is_simulated else None
    check(any_tree, read_topology(any_tree))
    if before is not None:
        assert read_all(any_tree.root) == before


def test_the_contract_needs_only_the_standard_library(root: Path) -> None:
    project = Path(__file__).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(project)!r});"
        f"from tests.power.contract import main; main({str(root)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok check_") == len(find_checks())
