# SPDX-License-Identifier: Apache-2.0
"""Each lab is a host on which one of Linux's own scaling drivers sets registers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.lab import run_in_lab

if TYPE_CHECKING:
    from tests.rig.labs import Lab

pytestmark = pytest.mark.rig

# 1.2 GHz can be set in the registers of every lab.
PROGRAM = """
import errno, json, os, threading, time
from pathlib import Path
from tests.power.registers import requested_khz

LIMIT_KHZ = 1200000
CPUS = Path("/sys/devices/system/cpu")

def policy(cpu, name, value=None):
    path = CPUS / f"cpufreq/policy{cpu}/{name}"
    return path.read_text().strip() if value is None else path.write_text(str(value))

def requested_frequency(cpu):
    requested = requested_khz(cpu)
    return requested.desired_khz or requested.max_khz

def wait_for(poll):
    never, deadline = threading.Event(), time.monotonic() + 60
    while not poll() and time.monotonic() < deadline:
        never.wait(0.01)
    return poll()

def switch(cpu, value):
    (CPUS / f"cpu{cpu}/online").write_text(value)

facts = {name: policy(1, name) for name in (
    "scaling_driver", "scaling_available_governors",
    "cpuinfo_min_freq", "cpuinfo_max_freq",
)}
for cpu in (1, 2):
    policy(cpu, "scaling_governor", "performance")
facts["is_high_at_first"] = wait_for(lambda: requested_frequency(1) > LIMIT_KHZ)
policy(1, "scaling_max_freq", LIMIT_KHZ)
facts["is_limited"] = wait_for(lambda: requested_frequency(1) == LIMIT_KHZ)
facts["is_neighbor_unlimited"] = wait_for(lambda: requested_frequency(2) > LIMIT_KHZ)

policy(3, "scaling_max_freq", LIMIT_KHZ)
held = os.open(CPUS / "cpufreq/policy3/scaling_max_freq", os.O_RDONLY)
switch(3, "0")
try:
    os.pread(held, 100, 0)
except OSError as error:
    facts["offline"] = errno.errorcode[error.errno]
switch(3, "1")
facts["online"] = os.pread(held, 100, 0).decode().strip()
print("FACTS", json.dumps(facts))
"""


def facts_in(output: str) -> Any:
    line = next(line for line in output.splitlines() if line.startswith("FACTS "))
    return json.loads(line.removeprefix("FACTS "))


def test_a_lab_runs_its_driver_whose_limits_reach_the_registers(lab: Lab) -> None:
    outcome = run_in_lab(PROGRAM, lab=lab)
    assert outcome.status == 0, outcome.output
    facts = facts_in(outcome.output)
    assert set(facts.pop("scaling_available_governors").split()) == lab.governors
    assert facts == {
        "scaling_driver": lab.scaling_driver,
        "cpuinfo_min_freq": str(lab.min_khz),
        "cpuinfo_max_freq": str(lab.max_khz),
        "is_high_at_first": True,
        "is_limited": True,
        "is_neighbor_unlimited": True,
        "offline": "EBUSY",
        "online": "1200000",
    }
