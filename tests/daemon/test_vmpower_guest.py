# SPDX-License-Identifier: Apache-2.0
"""`vmpower-guest` inside real guests, against the daemon on simulated CPUs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.rig.shell import GuestShell, shell_guest
from tests.rig.waiting import GUEST_DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree
    from tests.daemon.daemon_process import DaemonProcess
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

CLOCK = "devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"
TURBO, NOMINAL, MIDDLE, LOWEST = 3_001_000, 3_000_000, 2_000_000, 1_200_000
NAME = "virtio.serial.port.poweragent."
PORT = f"/dev/virtio-ports/{NAME}"
HELD = "vCPU 0: min, acknowledged; in effect until this command ends"
# Long enough for an emulated guest on a busy machine.
COMMAND = "python3 -I /vmpower-guest.pyz --timeout 5"


@pytest.fixture
def daemon(system_daemon: DaemonProcess) -> DaemonProcess:
    return system_daemon


@pytest.fixture
def guest(system_host: SystemHost, archive: Path) -> Iterator[Guest]:
    files = {"/vmpower-guest.pyz": archive}
    spec = shell_guest("agent", files, channels=(0, 1), pins={0: "0", 1: "1"})
    guest = system_host.start(spec)
    yield guest
    guest.remove()


@pytest.fixture
def shell(daemon: DaemonProcess, guest: Guest) -> Iterator[GuestShell]:
    for channel in (0, 1):
        daemon.wait_for_channel(guest.name, channel, "open")
    with GuestShell(guest) as shell:
        shell.run(f"until [ -e {PORT}1 ]; do usleep 20000; /bin/name-ports; done")
        yield shell


def wait_for_frequency(tree: CpuTree, khz: int, group: int = 0) -> None:
    wait_for(
        lambda: tree.read_khz(CLOCK.format(group)) == khz,
        f"{khz} kHz of group {group}",
        timeout_s=GUEST_DEADLINE_S,
    )


def test_a_guest_s_setting_is_in_effect_until_its_command_ends(
    daemon: DaemonProcess, shell: GuestShell, tree: CpuTree
) -> None:
    shell.start(f"{COMMAND} set 0 min", "/log")
    wait_for(
        lambda: HELD in shell.run("cat /log").printed,
        "an acknowledgement",
        timeout_s=GUEST_DEADLINE_S,
    )
    assert tree.read_khz(CLOCK.format(0)) == LOWEST
    busy = shell.run(f"{COMMAND} set 0 max")
    assert busy.status == 1
    assert f"another program has {NAME}0 open" in busy.printed
    # Another daemon, another monitor: the guest notices, and repeats its request.
    daemon.stop()
    wait_for(
        lambda: "no host is connected" in shell.run("cat /log").printed,
        "a notice in /log",
        timeout_s=GUEST_DEADLINE_S,
    )
    assert tree.read_khz(CLOCK.format(0)) != LOWEST
    daemon.start()
    # Later than the frequency, if the first answer is late.
    wait_for(
        lambda: shell.run("cat /log").printed.count(HELD) == 2,
        "an acknowledgement by the new daemon",
        timeout_s=GUEST_DEADLINE_S,
    )
    assert tree.read_khz(CLOCK.format(0)) == LOWEST
    shell.stop("/log")
    wait_for_frequency(tree, TURBO)
    assert shell.run("cat /log").printed == (
        f"{HELD}\nno host is connected; waiting for one\n{HELD}\n"
    )


def test_a_guest_sends_a_policy_and_sees_its_effect(
    shell: GuestShell, tree: CpuTree
) -> None:
    def query(what: str) -> list[dict[str, object]]:
        ran = shell.run(f"{COMMAND} -o json query {what}")
        assert ran.status == 0, ran.printed
        vcpus = json.loads(ran.printed)["vcpus"]
        assert isinstance(vcpus, list)
        return vcpus

    # No guest has sent a request yet.
    assert query("freq") == [{"vcpu": vcpu, "khz": None} for vcpu in (0, 1)]
    assert query("caps 1") == [{"vcpu": 1, "has_turbo": True, "is_priority": False}]
    shell.start(f"{COMMAND} policy send workload low --vcpus 0,1", "/policy")
    for group in (0, 1):
        wait_for_frequency(tree, LOWEST, group)
    # Its port is in use: these use the other one.
    assert query("freq") == [{"vcpu": vcpu, "khz": LOWEST} for vcpu in (0, 1)]
    watched = shell.run(f"{COMMAND} watch -n 2 -i 0.5")
    assert watched.status == 0, watched.printed
    assert [
        line.split() for line in watched.printed.splitlines() if "vCPU" in line
    ] == [["time", "vCPU", "0", "vCPU", "1"]]
    # Besides warnings, if an answer was late.
    lines = [line for line in watched.printed.splitlines() if "GHz" in line]
    assert [line.count("1.20 GHz") for line in lines] == [2, 2]
    wait_for(
        lambda: "acknowledged" in shell.run("cat /policy").printed,
        "an acknowledgement",
        timeout_s=GUEST_DEADLINE_S,
    )
    removed = shell.run(f"{COMMAND} policy remove")
    assert (removed.status, "removal sent" in removed.printed) == (0, True)
    for group in (0, 1):
        wait_for_frequency(tree, TURBO, group)
    printed = shell.run("cat /policy").printed
    assert printed == (
        "workload policy for vCPUs 0,1, acknowledged;"
        " in effect until this command ends\n"
    )


def test_a_guest_reads_what_it_draws(shell: GuestShell) -> None:
    def read() -> dict[str, float | str] | None:
        ran = shell.run(f"{COMMAND} -o json energy")
        return json.loads(ran.printed) if ran.status == 0 else None

    def draws() -> bool:
        energy = read()
        return energy is not None and float(energy["joules_total"]) > 0

    wait_for(draws, "energy of the guest", timeout_s=GUEST_DEADLINE_S)
    first, second = read(), read()
    assert first is not None
    assert second is not None
    # The simulated CPUs of this host have no meter.
    assert (first["source"], second["source"]) == ("modelled", "modelled")
    assert float(second["seconds"]) >= float(first["seconds"]) > 0
    assert float(second["watts"]) > 0
    table = shell.run(f"{COMMAND} energy").printed
    assert [line.split()[0] for line in table.splitlines()[2:4]] == ["Saved", "Drawn"]


def test_auto_follows_the_guest_s_load(shell: GuestShell, tree: CpuTree) -> None:
    # Port 0 is in use by another program: it is skipped.
    shell.start(f"{COMMAND} set 0 max", "/held")
    wait_for(
        lambda: "in effect" in shell.run("cat /held").printed,
        "port 0 is held",
        timeout_s=GUEST_DEADLINE_S,
    )
    # The emulation is slow: `auto` and the load must not share a vCPU.
    shell.start(f"{COMMAND} -o json auto --interval 2 --patience 2 -v", "/log")
    wait_for_frequency(tree, LOWEST, 1)
    shell.start("busybox taskset 2 sh -c 'while :; do :; done'", "/busy")
    wait_for_frequency(tree, TURBO, 1)
    shell.stop("/busy")
    wait_for_frequency(tree, LOWEST, 1)
    notice, *records = shell.run("cat /log").printed.splitlines()
    assert notice == f"skipped: another program has {NAME}0 open"
    lines = [json.loads(line) for line in records]
    assert lines[0] == {"vcpus": [1]}
    words = [line["asked"] for line in lines[1:]]
    first = words.index("down")
    assert set(words[:first]) == {"max"}
    assert "max" in words[first:]
