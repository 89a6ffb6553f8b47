# SPDX-License-Identifier: Apache-2.0
"""The whole chain without an agent: schedutil in a guest moves Linux's own cpufreq.

Debian's kernel runs in the guest, unmodified, and nothing in it knows of the host. On
the host, an emulated machine, the daemon sets the frequencies of Linux's acpi-cpufreq.
"""

from __future__ import annotations

import pytest

from tests.rig.host_lab import run_in_host_lab
from tests.rig.p_states import build_p_state_image, p_state_guest
from tests.rig.watched_daemon import facts_of

WORK = """\
while :; do
    timeout 5 sh -c 'while :; do :; done'
    sleep 5
done
"""
PROGRAM = """
from orchestrator.control.client import ControlClient
from tests.rig.waiting import DEADLINE_S
from tests.rig.watched_daemon import RUN_DIR, WatchedDaemon

LOWEST, HIGHEST = "1200000", "3001000"

def is_busy_again(seen):
    clocks = [clock[1] for clock in seen]
    return LOWEST in clocks and HIGHEST in clocks[clocks.index(LOWEST) :]

daemon = WatchedDaemon(URI, "scaling_setspeed")
daemon.watch(is_busy_again)
channels = []
if daemon.is_running:
    with ControlClient(RUN_DIR / "vmpower.sock", timeout_s=DEADLINE_S) as client:
        (domain,) = client.status()["domains"]
        channels = domain["channels"]
daemon.stop(CONSOLE, channels)
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
    seen, status, before, after, channels = facts_of(outcome.output)
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
