# SPDX-License-Identifier: Apache-2.0
"""An administrator's scaling_max_freq limits everything the daemon does and reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.control.client import ControlClient
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import write_driver_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = "devices/system/cpu/cpufreq/policy0"
TURBO, NOMINAL, LIMIT, LOWEST = 3_001_000, 3_000_000, 2_400_000, 1_200_000


@pytest.fixture
def limited(directory: Path) -> CpuTree:
    lay_out(directory / "sys", cpus=2, steps_khz=(TURBO, NOMINAL, LIMIT, LOWEST))
    tree = CpuTree(directory / "sys")
    (tree.root / POLICY / "scaling_max_freq").write_text(f"{LIMIT}\n")
    return tree


@pytest.fixture
def client(limited: CpuTree, directory: Path) -> Iterator[ControlClient]:
    uri = write_driver_file(directory / "node.xml", [])
    with (
        DaemonProcess(uri, limited.root) as daemon,
        ControlClient(daemon.socket) as client,
    ):
        yield client


def test_an_override_above_the_limit_is_set_to_the_limit(
    client: ControlClient, limited: CpuTree
) -> None:
    cpu = client.override(0, NOMINAL)
    assert (cpu["override_khz"], cpu["grant_khz"]) == (LIMIT, LIMIT)
    assert (cpu["min_khz"], cpu["max_khz"]) == (LOWEST, LIMIT)
    assert limited.read_khz(f"{POLICY}/scaling_setspeed") == LIMIT
    assert any("fixed at 2.40 GHz" in event["text"] for event in client.events())


@pytest.mark.parametrize(
    ("units", "khz"),
    [
        (["MAX"], LIMIT),
        (["MAX", "DOWN"], LOWEST),
        (["MIN", "UP", "UP"], LIMIT),
        (["ENABLE_TURBO"], LIMIT),
    ],
)
def test_a_script_s_steps_stay_below_the_limit_and_are_reported_as_set(
    client: ControlClient, units: list[str], khz: int
) -> None:
    outcome = None
    for unit in units:
        word = unit if unit.endswith("TURBO") else f"SCALE_{unit}"
        power = {"command": "power", "unit": word, "resource_id": 0}
        (outcome,) = client.instruct(json.dumps(power))["outcomes"]
    assert outcome is not None
    assert outcome["done"]
    assert f"set to {khz / 1e6:.2f} GHz" in outcome["text"]
    assert client.cpus()["cpus"][0]["override_khz"] == khz
