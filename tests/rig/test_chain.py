# SPDX-License-Identifier: Apache-2.0
"""The whole chain, all real: DPDK's library in a guest, Linux's cpufreq below it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.rig.dpdk import librte_power_guest
from tests.rig.host_lab import run_in_host_lab

PROGRAM = """
import json, os, signal, subprocess, sys, threading, time
from pathlib import Path

TREE = Path("/sys/devices/system/cpu/cpufreq")
# CPU 1 is the guest's: between two governors the kernel keeps the frequency, so one
# below the highest step would be seen before the daemon's first.
GOVERNORS = ["powersave", "performance", "ondemand", "schedutil"]
FILES = ["scaling_governor", "scaling_min_freq", "scaling_max_freq"]

def settings():
    policies = [TREE / f"policy{n}" for n in range(4)]
    return [(policy / name).read_text() for policy in policies for name in FILES]

files = [os.open(TREE / f"policy{n}/scaling_setspeed", os.O_RDONLY) for n in range(4)]

def clocks():
    return [os.pread(file, 100, 0).decode().strip() for file in files]

for number, governor in enumerate(GOVERNORS):
    (TREE / f"policy{number}/scaling_governor").write_text(governor)
before = settings()
log = open("/daemon.log", "w")
command = [sys.executable, "-s", "-m", "orchestrator", "-c", URI]
daemon = subprocess.Popen([*command, "--run-dir", "/run/vmpower"], stderr=log)
seen = [clocks()]
deadline = time.monotonic() + 900
never = threading.Event()
while len(seen) < 7 and time.monotonic() < deadline and daemon.poll() is None:
    now = clocks()
    if now != seen[-1]:
        print("CLOCKS", now, flush=True)
        seen.append(now)
    never.wait(0.05)
if daemon.poll() is None:
    daemon.send_signal(signal.SIGTERM)
status = daemon.wait(timeout=60)
print(open("/daemon.log").read())
print(open(CONSOLE).read() if os.path.exists(CONSOLE) else "no guest")
print("FACTS", json.dumps([seen, status, before, settings()]))
"""

STEPS = ("3001000", "3000000", "2000000", "1200000", "3000000", "3001000")
"""The first by CONNECT; the last when the guest has closed its port: without a vote the
frequency is high. ENABLE_TURBO and UP change nothing at that point."""


@pytest.mark.rig
def test_six_calls_in_a_guest_set_frequencies_of_linuxs_own_driver() -> None:
    spec = librte_power_guest(spacing_ms=1000, pins=("1",))
    nested = replace(spec, memory_mib=256, machine="pc")
    outcome = run_in_host_lab(PROGRAM, nested)
    facts = [line for line in outcome.output.splitlines() if line.startswith("FACTS ")]
    assert facts, outcome.output
    seen, status, before, after = json.loads(facts[0].removeprefix("FACTS "))
    untouched = "<unsupported>"
    assert seen == [
        [untouched, clock, untouched, untouched] for clock in (untouched, *STEPS)
    ], outcome.output
    assert status == 0
    assert after == before
