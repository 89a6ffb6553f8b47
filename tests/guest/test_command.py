# SPDX-License-Identifier: Apache-2.0
"""`vmpower-guest` as a process, on a port that the parts of the monitor serve."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import GENERATION_464
from orchestrator.guest.clock import CONNECT_TIMEOUTS
from orchestrator.guest.port import PORT_NAME
from tests.guest.energy_figures import ENERGY, FIGURES
from tests.guest.pseudo_port import PseudoPort
from tests.guest.serving_monitor import ServingMonitor
from tests.monitor.in_process_monitor import LOWEST, TURBO, InProcessMonitor
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKOUT = Path(__file__).parents[2]
_DROP_ADMIN = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
_DROP_OVERRIDE = ("setpriv", "--bounding-set=-dac_override")
WITHOUT_ADMIN = () if os.geteuid() else _DROP_ADMIN
"""A wrapper that takes from root the right to open a port that is in use."""
LOW = ("policy", "send", "workload", "low", "--vcpus", "0")
WITHOUT_OVERRIDE = () if os.geteuid() else _DROP_OVERRIDE
"""A wrapper that takes from root the right to open any file."""


@pytest.fixture
def devices(monitor: InProcessMonitor, tmp_path: Path) -> Iterator[Path]:
    """A guest with a port for vCPU 0, which the monitor serves."""
    guest = monitor.simple()
    with PseudoPort(tmp_path, 0, guest), ServingMonitor(monitor):
        yield tmp_path


def start(*words: str | Path, wrapper: Sequence[str] = ()) -> subprocess.Popen[str]:
    program = [*wrapper, sys.executable, "-m", "orchestrator.guest"]
    command = [*program, *map(str, words)]
    return subprocess.Popen(
        command,
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words: str | Path) -> tuple[int, str, str]:
    process = start(*words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_set_reports_that_the_host_acknowledged(
    monitor: InProcessMonitor, devices: Path
) -> None:
    words = ("--timeout", "20", "--devices", devices)
    assert run(*words, "set", "0", "min", "--once") == (
        0,
        "vCPU 0: min, acknowledged\n",
        "",
    )
    assert monitor.frequency() == LOWEST


def test_set_keeps_the_port_open_until_it_ends(devices: Path) -> None:
    words = ("-o", "json", "--timeout", "20", "--devices", devices)
    process = start(*words, "set", "0", "min")
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    assert line == {"vcpu": 0, "asked": "min", "answer": "ack"}
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


def test_a_refusal_fails_and_points_to_the_host(
    monitor: InProcessMonitor, devices: Path
) -> None:
    words = ("--timeout", "20", "--devices", devices)
    monitor.define_domain(is_enforced=False)
    status, out, err = run(*words, "set", "0", "max", "--once")
    assert (status, out) == (1, "")
    assert err.startswith("error: the host refused max for vCPU 0\nhint: ")


def test_query_shows_frequencies_and_capabilities(
    monitor: InProcessMonitor, devices: Path
) -> None:
    words = ("--timeout", "20", "--devices", devices)
    monitor.define_domain(groups=(0, None))
    assert run(*words, "set", "0", "min", "--once")[0] == 0
    assert run(*words, "query", "freq") == (
        0,
        " vCPU   Frequency\n------------------\n 0      1.20 GHz\n 1      -\n",
        "",
    )
    _, out, _ = run(*words, "query", "freq", "0", "-o", "json")
    assert json.loads(out) == {"vcpus": [{"vcpu": 0, "khz": LOWEST}]}
    _, out, _ = run(*words, "query", "caps", "-o", "json")
    assert json.loads(out)["vcpus"] == [
        {"vcpu": 0, "has_turbo": True, "is_priority": False},
        {"vcpu": 1, "has_turbo": False, "is_priority": False},
    ]


def test_energy_shows_what_the_vm_draws_and_saves(
    monitor: InProcessMonitor, devices: Path
) -> None:
    words = ("--timeout", "20", "--devices", devices, "energy")
    changed = FIGURES._replace(drawn_uj=7_200_000_000, saved_uj=3_600_000_000)
    monitor.write_energy(changed)
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "         Power         Energy",
        "-------------------------------",
        " Saved   3.0 ±0.5 W    1.00 Wh",
        " Drawn   12.0 ±1.0 W   2.00 Wh",
        "",
        " in 0:01:01, measured by the host",
    ]
    _, out, _ = run(*words, "-o", "json")
    totals = {"joules_total": 7_200.0, "saved_joules_total": 3_600.0}
    assert json.loads(out) == {**ENERGY._asdict(), **totals}


def test_energy_that_is_not_permitted_or_not_accounted_fails(
    monitor: InProcessMonitor, devices: Path
) -> None:
    words = ("--timeout", "20", "--devices", devices, "energy")
    for _ in ("not accounted", "not permitted"):
        status, out, err = run(*words)
        assert (status, out) == (1, "")
        assert err.startswith("error: the host refused the energy of this VM\nhint: ")
        monitor.define_domain(may_query_energy=False)
        monitor.write_energy(FIGURES)


def test_watch_prints_a_line_per_sample(
    monitor: InProcessMonitor, devices: Path, tmp_path: Path
) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu0 10 0 0 90 0 0 0 0\n")
    monitor.define_domain()
    words = ("--timeout", "20", "--devices", devices)
    watch = ("watch", "-n", "2", "-i", "0.01", "--stat", stat)
    status, out, err = run(*words, *watch)
    assert (status, err) == (0, "")
    header, *lines = out.splitlines()
    assert header.split() == ["time", "vCPU", "0"]
    assert [line.split()[1:] for line in lines] == [["3.00", "GHz", "-"]] * 2
    _, out, _ = run(*words, *watch, "-o", "json")
    document = json.loads(out.splitlines()[1])
    assert document["vcpus"] == [{"vcpu": 0, "khz": TURBO, "load": None}]


def test_auto_starts_high_and_follows_the_load(
    monitor: InProcessMonitor, devices: Path, tmp_path: Path
) -> None:
    stat = tmp_path / "stat"
    jiffies = {"busy": 0, "idle": 0}

    def pass_time(kind: str) -> None:
        jiffies[kind] += 10
        new = tmp_path / "new"
        new.write_text(f"cpu0 {jiffies['busy']} 0 0 {jiffies['idle']} 0 0 0 0\n")
        new.replace(stat)

    def is_at(khz: int, kind: str) -> bool:
        pass_time(kind)
        return monitor.frequency() == khz

    pass_time("idle")
    common = ("--timeout", "20", "--devices", devices, "auto", "--stat", stat)
    process = start(*common, "--interval", "0.02", "--patience", "0.1", "-v")
    wait_for(lambda: is_at(LOWEST, "idle"), "the lowest frequency", timeout_s=60)
    wait_for(lambda: is_at(TURBO, "busy"), "the highest frequency", timeout_s=60)
    # The frequency changes before the guest has received its answer and printed it.
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while lines[-1] != "vCPU 0: load 100%, max\n":
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130
    assert lines[0] == "following the load of vCPU 0\n"
    assert lines[1].endswith(", max\n")
    assert [line.rpartition(" ")[2] for line in lines[2:5]] == ["down\n"] * 3


def test_auto_skips_ports_that_another_program_has_open(
    monitor: InProcessMonitor, tmp_path: Path
) -> None:
    monitor.define_group(0)
    monitor.define_group(1)
    monitor.hand_over(0)
    monitor.hand_over(1)
    monitor.define_domain(groups=(0, 1))
    stat = tmp_path / "stat"
    stat.write_text("cpu0 0 0 0 10 0 0 0 0\ncpu1 0 0 0 10 0 0 0 0\n")
    command = ("--timeout", "20", "--devices", tmp_path, "auto", "--stat", stat)
    ends = [monitor.adopt(number=number) for number in (0, 1)]
    with (
        PseudoPort(tmp_path, 0, ends[0]) as first,
        PseudoPort(tmp_path, 1, ends[1]) as second,
        ServingMonitor(monitor),
    ):
        first.open_exclusively()
        process = start(*command, "-o", "json", wrapper=WITHOUT_ADMIN)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"vcpus": [1]}
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert err == f"skipped: another program has {PORT_NAME}0 open\n"
        second.open_exclusively()
        process = start(*command, wrapper=WITHOUT_ADMIN)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"error: another program has {PORT_NAME}0 open\nhint: ")


def test_an_invalid_load_is_a_usage_error(devices: Path, tmp_path: Path) -> None:
    words = ("--devices", devices, "auto", "--vcpus", "0", "--stat")
    (tmp_path / "empty").write_text("")
    (tmp_path / "odd").write_text("cpu0 1 2\n")
    for name in ("empty", "odd", "none"):
        status, _, err = run(*words, tmp_path / name)
        assert (status, f"cannot read loads from {tmp_path / name}: " in err) == (
            2,
            True,
        )


def test_dts_a_vm_without_ports_is_an_error_with_a_hint(tmp_path: Path) -> None:
    for words in (
        ["set", "1", "max"],
        ["query", "freq"],
        ["energy"],
        ["watch"],
        ["auto"],
    ):
        status, out, err = run("--devices", tmp_path, *words)
        assert (status, out) == (1, "")
        assert "error: no such virtio port: virtio.serial.port." in err
        assert "hint: add the VM's channels on the host: vmpower domain" in err


@pytest.mark.parametrize(("asked", "sent"), [("min", 10), ("up", 1)])
def test_a_host_that_does_not_answer_is_unreachable(
    tmp_path: Path, asked: str, sent: int
) -> None:
    host, guest = socket.socketpair()
    with host, guest:
        with PseudoPort(tmp_path, 0, guest):
            words = ("--timeout", "0.01", "--devices", tmp_path, "set", "0", asked)
            status, _, err = run(*words)
        received = len(host.recv(65_536))
    missing = f"no answer from the host within 0.01 s: {asked} for vCPU 0"
    assert (status, missing in err) == (3, True)
    # After CONNECT and the requests that find out whether the host answers; a step is
    # requested once, because the host may have obeyed.
    packets = 1 + len(CONNECT_TIMEOUTS) + sent
    assert received == packets * GENERATION_464.size_bytes


def test_a_port_without_access_is_permission_denied(tmp_path: Path) -> None:
    links = tmp_path / "virtio-ports"
    links.mkdir()
    (links / f"{PORT_NAME}0").touch(mode=0)
    command = ("--devices", tmp_path, "set", "0", "min")
    process = start(*command, wrapper=WITHOUT_OVERRIDE)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, "")
    assert err.startswith(f"error: permission denied: {links}")
    assert "hint: run as root" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["set", "0", "fast"], "invalid choice: 'fast'"),
        (["set", "-1", "max"], "-1"),
        (["set", "1e29", "max"], "invalid vCPU '1e29'"),
        (["query", "freq", "99999999999"], "invalid vCPU '99999999999'"),
        (["--timeout", "0", "query", "freq"], "invalid time '0'"),
        (["policy", "send", "time", "--vcpus", "0", "--busy", "24"], "within 0-23"),
        (["policy", "send", "time", "--vcpus", "0"], "needs hours"),
        (["policy", "send", "time", "--vcpus", "0", "--quiet", "0"], "hour 0 alone"),
        (
            ["policy", "send", "traffic", "--vcpus", "0-8"],
            "invalid number of vCPUs 9: expected 1 to 8",
        ),
        (
            ["policy", "send", "traffic", "--vcpus", "0", "--mac", "52:54"],
            "invalid MAC address '52:54'",
        ),
        (["--vm-name", "x" * 32, *LOW], "VM name too long: 32 bytes, at most 31 fit"),
        (["auto", "--busy", "40%"], "--calm 0.4 must be below --busy 0.4"),
        ([], "required: COMMAND"),
    ],
)
def test_invalid_arguments_are_usage_errors(words: list[str], message: str) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert message in err
