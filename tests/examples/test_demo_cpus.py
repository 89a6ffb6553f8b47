# SPDX-License-Identifier: Apache-2.0
"""The CPUs of the demo: files only, no guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.demo.__main__ import main
from examples.demo.tree import groups_of, simulate_cpus
from examples.guests.cache import GuestError
from orchestrator.power.simulated import lay_out, switch_cpu
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER, SIMULATED_DRIVERS
from orchestrator.power.sysfs import CpuTree
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("driver", SIMULATED_DRIVERS)
def test_simulated_cpus_have_the_driver_of_the_command_line(
    tmp_path: Path, driver: str
) -> None:
    tree, pins = simulate_cpus(tmp_path / "cpus", driver, 3)
    assert len(pins) == 3
    for pcpu in pins:
        found = tree.cpu_dir / f"cpu{pcpu}/cpufreq/scaling_driver"
        assert found.read_text().strip() == SIMULATED_DRIVERS[driver].scaling_driver


def test_cpus_are_in_the_clock_groups_of_their_numbers(tmp_path: Path) -> None:
    tree, pins = simulate_cpus(tmp_path / "cpus", DEFAULT_DRIVER, 2)
    assert [group.number for group in groups_of(tree, pins)] == sorted(set(pins))


def test_cpus_that_cannot_be_set_are_reported_with_the_cause(tmp_path: Path) -> None:
    lay_out(tmp_path / "cpus", cpus=2)
    switch_cpu(tmp_path / "cpus", 1, is_online=False)
    with pytest.raises(GuestError, match="CPU 1 is unmanaged: offline"):
        groups_of(CpuTree(tmp_path / "cpus"), [PCpu(0), PCpu(1)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--driver", "pcc"], "invalid choice: 'pcc' (choose from "),
        (["--driver", "intel_pstate", "--host-cpus"], "not allowed with"),
    ],
)
def test_invalid_drivers_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert message in capsys.readouterr().err
