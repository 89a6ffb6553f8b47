# SPDX-License-Identifier: Apache-2.0
"""The demo, with real guests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.demo_process import DemoProcess
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.rig

ROW = re.compile(
    r"^ (router|firewall)/([01]) +([\d,]+) +([\d,]+) +(\d+) ", re.MULTILINE
)
TIMED_OUT = "the guests were stopped before they were done"
COUNTED = re.compile(r"([\d,]+) by the daemon's counters")


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_guests_are_served_and_everything_is_cleaned_up(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    with DemoProcess("--seconds", "5", "--svg", str(picture)) as demo:
        status = demo.wait()
        assert status == 0, demo.output
        rows = ROW.findall(demo.output)
        assert [row[:2] for row in rows] == [
            *(("router", "0"), ("router", "1")),
            *(("firewall", "0"), ("firewall", "1")),
        ], demo.output
        for _guest, _vcpu, requests, acks, nacks in rows:
            assert 5 < number(acks) <= number(requests)
            assert nacks == "0"
        counted = COUNTED.search(demo.output)
        assert counted
        reported = sum(number(row[2]) for row in rows)
        if TIMED_OUT in demo.output:
            # Requests after a guest's last line are counted by the daemon only.
            assert number(counted[1]) >= reported
        else:
            assert number(counted[1]) == reported
        assert re.search(r"everything restored  yes: all \d+ files", demo.output)
        assert "make demo ARGS=--dpdk" in demo.output
        assert demo.leftovers() == []
    svg = picture.read_text()
    assert svg.startswith("<svg")
    assert "router/0" in svg
    assert "cdnjs" not in svg


P_STATE_ROW = re.compile(
    r"^ unmodified/([01]) .* schedutil +\S+ GHz +([\d,]+)", re.MULTILINE
)
RECEIVED = re.compile(
    r"^ unmodified: port 0x5c0 open, ([\d,]+) requests.*, 0 refused", re.MULTILINE
)


def test_an_unmodified_guest_s_governor_requests_frequencies() -> None:
    with DemoProcess("--p-states", "--seconds", "6", "--plain") as demo:
        status = demo.wait()
        assert status == 0, demo.output
        rows = P_STATE_ROW.findall(demo.output)
        assert [vcpu for vcpu, _ in rows] == ["0", "1"], demo.output
        assert all(number(changes) > 1 for _, changes in rows)
        received = RECEIVED.findall(demo.output)
        # Its kernel may have begun before the daemon was connected.
        assert number(received[-1]) > 1
        assert re.search(r"everything restored  yes: all \d+ files", demo.output)
        assert demo.leftovers() == []


def test_ctrl_c_on_a_terminal_restores_everything_and_cleans_up() -> None:
    with DemoProcess(has_terminal=True) as demo:
        demo.read_until("taken from governor")
        demo.type_interrupt()
        status = demo.wait()
        assert status == 130, demo.output
        assert re.search(r"everything restored.*yes", demo.output), demo.output
        assert "interrupted" in demo.output
        assert demo.leftovers() == []


def test_a_killed_demo_is_cleaned_up() -> None:
    with DemoProcess("--plain") as demo:
        demo.read_until("4 of 4 channels open")
        demo.process.kill()
        demo.process.wait()
        wait_for(lambda: demo.leftovers() == [], "everything is cleaned up")


def test_dpdks_own_test_passes_and_none_of_its_six_requests_is_refused() -> None:
    with DemoProcess("--dpdk") as demo:
        status = demo.wait()
        assert status == 0, demo.output
    assert "power_kvm_vm_autotest: Test OK" in demo.output
    # Under load answers may be late, even all of them, but none is a refusal.
    assert re.search(r"6 requests: [0-6] ACK, 0 NACK", demo.output), demo.output
    assert re.search(r"everything restored +yes", demo.output)


@pytest.mark.skipif(
    Path("/sys/devices/system/cpu/cpufreq/policy0").exists(),
    reason="frequencies of this host can be set",
)
def test_a_machine_without_cpufreq_is_reported() -> None:
    with DemoProcess("--host-cpus") as demo:
        assert demo.wait() == 1
    assert "no frequency of this host can be set" in demo.output
    assert "Traceback" not in demo.output
