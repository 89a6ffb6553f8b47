# SPDX-License-Identifier: Apache-2.0
"""CPU trees and journals for the tests.

VMPOWER_CPU_ROOT adds a real tree to the contract.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.power.journal import Journal
from orchestrator.power.mechanisms.setspeed import SetspeedMechanism
from orchestrator.power.simulated import lay_out
from orchestrator.power.simulated_drivers import SIMULATED_DRIVERS
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.power.group import PreparedGroup

MECHANISM = SetspeedMechanism()
GOVERNORS = ("performance", "powersave", "conservative", "ondemand")


def read_all(root: Path) -> dict[str, bytes]:
    """Read all files of a tree, and the targets of its links."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = str(path.readlink()).encode()
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four simulated CPUs, each a clock group."""
    lay_out(tmp_path / "sys", cpus=4)
    return tmp_path / "sys"


@pytest.fixture
def tree(root: Path) -> CpuTree:
    return CpuTree(root)


@pytest.fixture(
    params=["single CPUs", "shared", "no turbo", *SIMULATED_DRIVERS]
    + ([real] if (real := os.environ.get("VMPOWER_CPU_ROOT")) else [])
)
def any_tree(request: pytest.FixtureRequest, tmp_path: Path) -> CpuTree:
    """Every kind of tree that the contract applies to."""
    directory = tmp_path / "any"
    match request.param:
        case "single CPUs":
            lay_out(directory, cpus=3)
        case "shared":
            lay_out(directory, cpus=7, shared=3)
        case "no turbo":
            lay_out(directory, cpus=2, steps_khz=(2_400_000, 1_200_000))
        case driver if driver in SIMULATED_DRIVERS:
            lay_out(directory, cpus=3, driver=driver)
        case real_root:
            return CpuTree(Path(real_root))
    return CpuTree(directory)


# Journals


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "restore.json"


@pytest.fixture
def journal(path: Path, tree: CpuTree) -> Journal:
    return Journal(path, tree)


@pytest.fixture
def before(tree: CpuTree) -> dict[str, bytes]:
    """Originals that differ between CPUs and from the defaults."""
    for number, governor in enumerate(GOVERNORS):
        policy = tree.cpu_dir / f"cpufreq/policy{number}"
        (policy / "scaling_governor").write_text(f"{governor}\n")
        (policy / "scaling_setspeed").write_text(f"{1_300_000 + number}\n")
    return read_all(tree.root)


@pytest.fixture
def prepared(tree: CpuTree, before: dict[str, bytes]) -> Iterator[list[PreparedGroup]]:
    assert before
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(MECHANISM.prepare(tree, group)))
            for group in read_topology(tree).groups
        ]


def use(group: PreparedGroup) -> None:
    """Take a group and set its frequency, as the daemon does."""
    MECHANISM.take(group)
    group.writer.write(b"%d\n" % group.group.steps.lowest_khz)


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
