# SPDX-License-Identifier: Apache-2.0
"""The whole chain without an agent: schedutil in a guest moves Linux's own cpufreq.

Debian's kernel runs in the guest, unmodified, and nothing in it knows of the host. On
the host, an emulated machine, the daemon sets the frequencies of Linux's acpi-cpufreq.
"""

from __future__ import annotations

import json

import pytest

from tests.rig.host_lab import run_in_host_lab
from tests.rig.p_states import build_p_state_image, p_state_guest

WORK = """\
while :; do
    timeout 5 sh -c 'while :; do :; done'
    sleep 5
done
"""
PROGRAM = """
import json, os, signal, subprocess, sys, threading, time
from pathlib import Path
from orchestrator.control.client import ControlClient

TREE = Path("/sys/devices/system/cpu/cpufreq")
FILES = ["scaling_governor", "scaling_min_freq", "scaling_max_freq"]
LOWEST, HIGHEST = "1200000", "3001000"

POLICIES = [TREE / f"policy{n}" for n in range(4)]

def settings():
    return [(policy / name).read_text() for policy in POLICIES for name in FILES]

def clocks():
    return [(policy / "scaling_setspeed").read_text().strip() for policy in POLICIES]

def is_seen():
    # It is busy again after it was idle.
    clocks = [clock[1] for clock in seen]
    return LOWEST in clocks and HIGHEST in clocks[clocks.index(LOWEST) :]

before = settings()
log = open("/daemon.log", "w")
command = [sys.executable, "-s", "-m", "orchestrator", "-c", URI]
daemon = subprocess.Popen([*command, "--run-dir", "/run/vmpower"], stderr=log)
seen = [clocks()]
deadline = time.monotonic() + 900
never = threading.Event()
while not is_seen() and time.monotonic() < deadline and daemon.poll() is None:
    now = clocks()
    if now != seen[-1]:
        print("CLOCKS", now, flush=True)
        seen.append(now)
    never.wait(0.02)
channels = []
if daemon.poll() is None:
    with ControlClient(Path("/run/vmpower/vmpower.sock"), timeout_s=60) as client:
        (domain,) = client.status()["domains"]
        channels = domain["channels"]
    daemon.send_signal(signal.SIGTERM)
status = daemon.wait(timeout=60)
print(open("/daemon.log").read())
print(open(CONSOLE).read() if os.path.exists(CONSOLE) else "no guest")
print("FACTS", json.dumps([seen, status, before, settings(), channels]))
"""
UNTOUCHED = "<unsupported>"
LOWEST, HIGHEST = "1200000", "3001000"


@pytest.mark.lab
def test_schedutil_of_an_unmodified_guest_sets_frequencies_of_linuxs_own_driver() -> (
    None
):
    spec = p_state_guest(
        "unmodified",
        pins={0: "1"},
        image=build_p_state_image(WORK),
        machine="pc",
        memory_mib=256,
    )
    outcome = run_in_host_lab(PROGRAM, spec, has_p_states=True)
    facts = [line for line in outcome.output.splitlines() if line.startswith("FACTS ")]
    assert facts, outcome.output
    seen, status, before, after, channels = json.loads(facts[0].removeprefix("FACTS "))
    clocks = [clock for _, clock, _, _ in seen if clock != UNTOUCHED]
    assert {LOWEST, HIGHEST} <= set(clocks), outcome.output
    # Other CPUs are never taken.
    assert {clock for one, _, *two in seen for clock in (one, *two)} == {UNTOUCHED}
    (channel,) = channels
    assert channel["kind"] == "p-states"
    assert channel["nack_reasons"] == {}
    assert channel["requests_total"] >= len(clocks)
    assert status == 0
    assert after == before
