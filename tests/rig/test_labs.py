# SPDX-License-Identifier: Apache-2.0
"""Each lab is a host on which one of Linux's own scaling drivers sets registers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.host_lab import run_module_in_host_lab
from tests.rig.lab import run_in_lab
from tests.rig.labs import (
    AMD_ACTIVE,
    CPPC_ARM,
    IDLE_STATES,
    INTEL_ACTIVE_HWP,
    UNCORE,
)

if TYPE_CHECKING:
    from tests.rig.labs import Lab

pytestmark = pytest.mark.lab

WAITING = """
import json, threading, time
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")

def wait_for(poll):
    never, deadline = threading.Event(), time.monotonic() + 60
    while not poll() and time.monotonic() < deadline:
        never.wait(0.01)
    return poll()
"""

# 1.2 GHz can be set in the registers of every lab.
LIMITS = (
    WAITING
    + """
import errno, os
from tests.power.registers import requested_khz

LIMIT_KHZ = 1200000

def policy(cpu, name, value=None):
    path = CPUS / f"cpufreq/policy{cpu}/{name}"
    return path.read_text().strip() if value is None else path.write_text(str(value))

def requested_frequency(cpu):
    requested = requested_khz(cpu)
    return requested.desired_khz or requested.max_khz

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
)


def facts_in(output: str) -> Any:
    line = next(line for line in output.splitlines() if line.startswith("FACTS "))
    return json.loads(line.removeprefix("FACTS "))


def test_a_lab_runs_its_driver_whose_limits_reach_the_registers(lab: Lab) -> None:
    outcome = run_in_lab(LIMITS, lab=lab)
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


GROUPS = """
import json
from pathlib import Path

policies = sorted(Path("/sys/devices/system/cpu/cpufreq").glob("policy*"))
groups = [(policy / "affected_cpus").read_text().strip() for policy in policies]
print("FACTS", json.dumps(groups))
"""


@pytest.mark.parametrize("lab", [CPPC_ARM], indirect=True)
def test_neighboring_cpus_of_a_lab_can_share_a_clock_group(lab: Lab) -> None:
    outcome = run_in_lab(GROUPS, lab=lab, shared=2)
    assert outcome.status == 0, outcome.output
    assert facts_in(outcome.output) == ["0 1", "2 3"], outcome.output


IDLE = (
    WAITING
    + """
import os

os.sched_setaffinity(0, {0})  # CPU 1 is idle
STATES = sorted((CPUS / "cpu1/cpuidle").iterdir())
facts = {"states": [(s / "name").read_text().strip() for s in STATES]}

def usage(state):
    return int((STATES[state] / "usage").read_text())

def wait_for_more(state):
    before = usage(state)
    return wait_for(lambda: usage(state) > before + 2)

def limit_latency(value):
    (CPUS / "cpu1/power/pm_qos_resume_latency_us").write_text(value)

facts["is_deep"] = wait_for_more(3)
limit_latency("50")
wait_for_more(2)  # the limit has reached the CPU
before = usage(3)
facts["is_limited"] = wait_for_more(2) and usage(3) == before
limit_latency("0")
facts["is_deep_again"] = wait_for_more(3)
print("FACTS", json.dumps(facts))
"""
)


@pytest.mark.parametrize("lab", [IDLE_STATES], indirect=True)
def test_pm_qos_limits_the_idle_states_of_a_lab(lab: Lab) -> None:
    outcome = run_in_lab(IDLE, lab=lab)
    assert outcome.status == 0, outcome.output
    assert facts_in(outcome.output) == {
        "states": ["POLL", "C1", "C2", "C3"],
        "is_deep": True,
        "is_limited": True,
        "is_deep_again": True,
    }


UNCORE_LIMITS = (
    WAITING
    + """
from tests.power.registers import uncore_limits_khz

package = CPUS / "intel_uncore_frequency/package_00_die_00"
facts = [uncore_limits_khz()]
(package / "max_freq_khz").write_text("1550000")
facts += [uncore_limits_khz(), int((package / "current_freq_khz").read_text())]
print("FACTS", json.dumps(facts))
"""
)


@pytest.mark.parametrize("lab", [UNCORE], indirect=True)
def test_limits_of_the_uncore_reach_its_register(lab: Lab) -> None:
    outcome = run_in_lab(UNCORE_LIMITS, lab=lab)
    assert outcome.status == 0, outcome.output
    limits_khz = [[800_000, 2_400_000], [800_000, 1_500_000]]
    assert facts_in(outcome.output) == [*limits_khz, 1_500_000]


@pytest.mark.parametrize("lab", [AMD_ACTIVE, INTEL_ACTIVE_HWP], indirect=True)
def test_the_command_runs_on_a_host_with_the_driver_of_a_lab(lab: Lab) -> None:
    outcome = run_module_in_host_lab("cli", "doctor", "-o", "json", lab=lab)
    assert outcome.status is not None, outcome.output
    assert f'"driver": "{lab.scaling_driver}"' in outcome.output
