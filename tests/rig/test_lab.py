# SPDX-License-Identifier: Apache-2.0
"""The lab is a host whose frequencies are set by Linux's own acpi-cpufreq driver."""

from __future__ import annotations

import json

import pytest

from tests.rig.acpi import STEPS_KHZ
from tests.rig.lab import run_in_lab

pytestmark = pytest.mark.lab

PROGRAM = """
import errno, json
from pathlib import Path

policies = sorted(Path("/sys/devices/system/cpu/cpufreq").glob("policy*"))
facts = {}
for policy in policies:
    (policy / "scaling_governor").write_text("userspace")
    (policy / "scaling_setspeed").write_text("1200001")
    try:
        (policy / "scaling_setspeed").write_text("fast")
    except OSError as error:
        word = errno.errorcode[error.errno]
    facts[policy.name] = [
        (policy / name).read_text().strip()
        for name in ("scaling_driver", "affected_cpus", "scaling_setspeed")
    ]
    facts[policy.name].append(word)
    steps = (policy / "scaling_available_frequencies").read_text().split()
print("FACTS", json.dumps([facts, [int(step) for step in steps]]))
"""


def facts_in(output: str) -> object:
    line = next(line for line in output.splitlines() if line.startswith("FACTS "))
    return json.loads(line.removeprefix("FACTS "))


@pytest.mark.parametrize(
    ("shared", "groups"),
    [(1, {0: "0", 1: "1", 2: "2", 3: "3"}), (2, {0: "0 1", 2: "2 3"})],
)
def test_the_lab_has_four_steps_in_each_clock_group(
    shared: int, groups: dict[int, str]
) -> None:
    outcome = run_in_lab(PROGRAM, shared=shared)
    assert outcome.status == 0, outcome.output
    expected = {
        f"policy{number}": ["acpi-cpufreq", cpus, "2000000", "EINVAL"]
        for number, cpus in groups.items()
    }
    assert facts_in(outcome.output) == [expected, list(STEPS_KHZ)]
