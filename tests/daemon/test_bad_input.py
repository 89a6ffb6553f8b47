# SPDX-License-Identifier: Apache-2.0
"""Each mistake is reported clearly, and everything else keeps working."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.power.simulated import switch_cpu
from tests.daemon.daemon_process import CHECKOUT, DaemonProcess
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    domain_xml,
    guest_ends,
    write_driver_file,
)

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.documents import Domain
    from orchestrator.power.sysfs import CpuTree

POLICY = "devices/system/cpu/cpufreq/policy{}/{}"
GOOD = "dpdk-0"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator", *arguments]
    return subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=30
    )


def channel(number: object, path: object, kind: str = "unix") -> str:
    source = f"<source mode='bind' path='{path}'/>" if path else ""
    return (
        f"<channel type='{kind}'>{source}<target type='virtio' "
        f"name='virtio.serial.port.poweragent.{number}'/></channel>"
    )


def write_domains(directory: Path, end: GuestEnd, devices: str) -> str:
    """Write a good domain, and a bad one with these devices."""
    good = DriverDomain(name=GOOD, pins=("2",), paths={0: end.path})
    bad = domain_xml(DriverDomain(name="bad", pins=("3",), paths={}, number=2))
    bad = bad.replace("<devices></devices>", f"<devices>{devices}</devices>")
    file = directory / "node.xml"
    file.write_text(f"<node>{domain_xml(good)}{bad}</node>", encoding="utf-8")
    return f"test://{file}"


def bad_domain(daemon: DaemonProcess) -> Domain:
    daemon.wait_for(lambda s: any(d["name"] == "bad" for d in s["domains"]))
    return daemon.domain("bad")


def is_served(end: GuestEnd) -> bool:
    end.accept()
    return end.request(0, Unit.SCALE_MIN) is Answer.ACK


@pytest.mark.parametrize(
    ("devices", "problem"),
    [
        (channel("99999", "/tmp/x"), "99999"),
        (channel("seven", "/tmp/x"), "seven"),
        (channel("-1", "/tmp/x"), "-1"),
        (channel("0", "/tmp/a") + channel("0", "/tmp/b"), "0"),
        (channel("0", "/tmp/" + "x" * 103), "108"),
    ],
)
def test_an_invalid_channel_is_reported_and_another_domain_is_served(
    directory: Path, tree: CpuTree, ends: list[GuestEnd], devices: str, problem: str
) -> None:
    uri = write_domains(directory, ends[0], devices)
    with DaemonProcess(uri, tree.root) as daemon:
        assert is_served(ends[0])
        shown = bad_domain(daemon)
        problems = [*shown["problems"], *(c["reason"] for c in shown["channels"])]
        assert any(problem in (found or "") for found in problems), problems


def test_a_domain_without_channels_is_shown_and_not_managed(
    directory: Path, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    uri = write_domains(directory, ends[0], "")
    with DaemonProcess(uri, tree.root) as daemon:
        assert is_served(ends[0])
        assert bad_domain(daemon)["channels"] == []
        assert tree.read(POLICY.format(3, "scaling_governor")) == "schedutil"


def test_hundreds_of_channels_of_one_domain_are_all_connected(
    directory: Path, tree: CpuTree
) -> None:
    with guest_ends(directory, 300) as ends:
        paths = {number: end.path for number, end in enumerate(ends)}
        domain = DriverDomain(name=GOOD, pins=("2", "3"), paths=paths)
        uri = write_driver_file(directory / "node.xml", [domain])
        with DaemonProcess(uri, tree.root) as daemon:
            daemon.wait_for(
                lambda s: (
                    [c["state"] for d in s["domains"] for c in d["channels"]]
                    == ["open"] * 300
                )
            )
            ends[299].accept()
            assert ends[299].request(1, Unit.SCALE_MIN) is Answer.ACK


def test_a_path_that_does_not_exist_is_waited_for(
    directory: Path, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    late = directory / "late"
    uri = write_domains(directory, ends[0], channel(0, late))
    with DaemonProcess(uri, tree.root) as daemon:
        assert is_served(ends[0])
        absent = daemon.wait_for_channel("bad", 0, "absent")
        assert absent["reason"] == f"no listener at {late}"
        end = GuestEnd(late)
        try:
            daemon.wait_for_channel("bad", 0, "open")
        finally:
            end.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_socket_of_another_user_is_not_trusted(
    directory: Path, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    path = directory / "theirs"
    directory.chmod(0o777)
    program = (
        "import os, socket, sys; os.setresuid(12345, 12345, 12345);"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
        "print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as impostor:
        assert impostor.stdout
        impostor.stdout.readline()
        uri = write_domains(directory, ends[0], channel(0, path))
        with DaemonProcess(uri, tree.root) as daemon:
            assert is_served(ends[0])
            refused = daemon.wait_for_channel("bad", 0, "refused")
            assert "user 12345 listens" in (refused["reason"] or "")
        impostor.communicate()


def test_a_channel_is_contended_until_another_program_disconnects(
    directory: Path, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    path = directory / "held"
    program = (
        "import socket, sys, threading; s = socket.socket(socket.AF_UNIX);"
        "s.bind(sys.argv[1]); s.listen(1); print('up', flush=True); held = [];"
        "sys.stdin.readline();"
        "serve = lambda: [held.append(s.accept()) for _ in range(99)];"
        "threading.Thread(target=serve, daemon=True).start(); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as qemu:
        assert qemu.stdout
        assert qemu.stdin
        qemu.stdout.readline()
        uri = write_domains(directory, ends[0], channel(0, path))
        with DaemonProcess(uri, tree.root) as daemon:
            assert is_served(ends[0])
            held = daemon.wait_for_channel("bad", 0, "contended")
            assert "another program" in (held["reason"] or "")
            qemu.stdin.write("\n")
            qemu.stdin.flush()
            daemon.wait_for_channel("bad", 0, "open")
        qemu.communicate()


def test_a_cpu_tree_without_cpufreq_is_accepted_and_the_reason_shown(
    directory: Path, ends: list[GuestEnd], uri: str
) -> None:
    bare = directory / "bare/devices/system/cpu"
    bare.mkdir(parents=True)
    (bare / "online").write_text("0-3\n", encoding="ascii")
    with DaemonProcess(uri, directory / "bare") as daemon:
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
        status = daemon.status()
        assert status["cpus"] == []
        assert {c["pcpu"] for c in status["unmanaged_cpus"]} == {0, 1, 2, 3}
        (vcpu, _) = status["domains"][0]["vcpus"]
        assert "no cpufreq" in (vcpu["reason"] or "")


def test_a_root_without_a_cpu_tree_is_refused(directory: Path, uri: str) -> None:
    (directory / "nothing").mkdir()
    daemon = DaemonProcess(uri, directory / "nothing")
    daemon.launch()
    assert daemon.wait_until_ended() == 1
    daemon.wait_for_log(f"cannot open {directory}/nothing/devices/system/cpu")


def test_an_offline_cpu_an_unwritable_file_and_unknown_steps_are_distinguished(
    directory: Path, tree: CpuTree
) -> None:
    switch_cpu(tree.root, 1, is_online=False)
    unwritable = tree.root / POLICY.format(2, "scaling_governor")
    unwritable.unlink()
    unwritable.symlink_to("/dev/full")
    tree.root.joinpath(POLICY.format(3, "scaling_available_frequencies")).unlink()
    highest = tree.root / POLICY.format(3, "cpuinfo_max_freq")
    highest.write_text("fast\n", encoding="ascii")
    with guest_ends(directory, 1) as ends:
        domain = DriverDomain(
            name=GOOD, pins=("0", "1", "2", "3"), paths={0: ends[0].path}
        )
        uri = write_driver_file(directory / "node.xml", [domain])
        with DaemonProcess(uri, tree.root) as daemon:
            ends[0].accept()
            assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
            for vcpu in (1, 2, 3):
                assert ends[0].request(vcpu, Unit.SCALE_MIN) is Answer.NACK
            vcpus = daemon.status()["domains"][0]["vcpus"]
            reasons = [vcpu["reason"] or "" for vcpu in vcpus]
    assert reasons[0] == ""
    assert reasons[1] == "pinned to offline CPUs only: 1"
    assert "scaling_governor" in reasons[2]
    assert "invalid frequency 'fast'" in reasons[3]


def test_a_frequency_that_the_kernel_refuses_is_refused_to_the_guest(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    setspeed = tree.root / POLICY.format(2, "scaling_setspeed")
    setspeed.unlink()
    setspeed.symlink_to("/dev/full")
    with DaemonProcess(uri, tree.root) as daemon:
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
        refused = "the kernel refused a frequency"
        daemon.wait_for_log(refused)
        assert ends[0].request(1, Unit.SCALE_MIN) is Answer.ACK


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("qemu+ssh://host/system", "remote libvirt URI"),
        ("qemu://host/system", "remote libvirt URI"),
        ("qemu+tcp:///system", "remote libvirt URI"),
        ("xen:///system", "unsupported libvirt URI"),
        ("nonsense", "unsupported libvirt URI"),
        ("qemu:///embed", "?root="),
    ],
)
def test_an_invalid_uri_is_refused_with_the_reason(uri: str, error: str) -> None:
    done = run("-c", uri, "--check-config")
    assert done.returncode == 2
    assert error in done.stderr
    assert uri in done.stderr


def test_a_typo_in_the_configuration_is_reported_and_nothing_is_started(
    directory: Path,
) -> None:
    file = directory / "vmpower.toml"
    file.write_text("[bonds]\nmax_khz = 1\n", encoding="utf-8")
    done = run("--config", str(file), "--check-config")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {file}:1: bonds: unknown key, did you mean 'bounds'?\n"
        "hint: see vmpower.toml(5)\n"
    )
    assert done.stdout == ""


def test_a_valid_configuration_is_named_and_can_be_shown(directory: Path) -> None:
    file = directory / "vmpower.toml"
    file.write_text("[bounds]\nmax_khz = '2GHz'\n", encoding="utf-8")
    checked = run("--config", str(file), "--check-config")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == f"valid configuration: {file}\n"
    shown = run("--config", str(file), "-c", "test:///default", "--show-config")
    assert '"max_khz": 2000000' in shown.stdout
    assert '"uri": "test:///default"' in shown.stdout


def test_an_unknown_option_is_a_usage_error() -> None:
    assert run("--no-such-option").returncode == 2
