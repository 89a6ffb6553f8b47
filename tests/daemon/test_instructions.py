# SPDX-License-Identifier: Apache-2.0
"""Scripts for DPDK's vm_power_manager with a real daemon: FIFOs and the API."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.control.client import ControlClient
from orchestrator.errors import ConfigError
from orchestrator.operations.dpdk.fifo import Fifos
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import DriverDomain, write_driver_file
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orchestrator.control.documents import Policy
    from orchestrator.power.sysfs import CpuTree

CLOCK = "devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"
MIN, MIDDLE, NOMINAL, TURBO = 1_200_000, 2_000_000, 3_000_000, 3_001_000


@pytest.fixture
def fifos(directory: Path) -> Path:
    return directory / "fifos"


@pytest.fixture
def daemon(directory: Path, tree: CpuTree, fifos: Path) -> Iterator[DaemonProcess]:
    domains = [
        DriverDomain(name="dpdk-0", pins=("2", "3"), paths={}, number=1),
        DriverDomain(name="dpdk-1", pins=("3",), paths={}, number=2),
    ]
    uri = write_driver_file(directory / "node.xml", domains)
    config = f'[fifo]\ndirectory = "{fifos}"\n'
    with DaemonProcess(
        uri, tree.root, config=config, release_after_s=0.3, resync_s=1.0
    ) as daemon:
        daemon.wait_for(lambda status: len(status["domains"]) == 2)
        wait_for((fifos / "fifo7").exists, "the FIFOs")
        yield daemon


def test_a_replaced_fifo_does_not_prevent_a_clean_exit(
    tree: CpuTree, daemon: DaemonProcess, fifos: Path
) -> None:
    write(fifos, 5, power("SCALE_MIN"))
    wait_for_frequency(tree, MIN)
    (fifos / "fifo5").unlink()
    (fifos / "fifo5").mkdir()
    assert daemon.stop() == 0
    daemon.wait_for_log("all CPU settings restored")


def test_missing_fifos_are_a_problem_of_the_daemon(
    daemon: DaemonProcess, fifos: Path
) -> None:
    assert daemon.status()["daemon"]["problems"] == []
    fifos.chmod(0o777)
    (fifos / "fifo5").unlink()
    problem = (
        f"FIFOs are missing: FIFO directory {fifos} is world-writable (chmod o-w"
        f" {fifos})"
    )
    daemon.wait_for(lambda status: status["daemon"]["problems"] == [problem])
    fifos.chmod(0o750)
    daemon.wait_for(lambda status: status["daemon"]["problems"] == [])
    assert (fifos / "fifo5").is_fifo()
    assert daemon.stop() == 0  # then, the log is complete
    assert daemon.log_text().count(f"fifo: {problem}") == 1


def test_a_key_with_unprintable_characters_is_shown_safely(
    daemon: DaemonProcess,
) -> None:
    message = '{"command": "destroy", "name": "x", "\\ud800\\u009b31m": 1}'
    good = '{"command": "power", "unit": "SCALE_MIN", "resource_id": 5, "\\ud800": 1}'
    with ControlClient(daemon.socket) as client:
        refused, done = client.instruct(message + good)["outcomes"]
        assert (refused["done"], done["done"]) == (False, True)
        assert done["text"].endswith("(unknown keys: '\\ud800')")
        texts = [event["text"] for event in client.events()]
    assert any(done["text"] in text for text in texts)


def test_every_domain_that_refuses_a_policy_is_reported(daemon: DaemonProcess) -> None:
    policy = {"policy_type": "BRANCH_RATIO", "core_list": [3]}
    with ControlClient(daemon.socket) as client:
        (outcome,) = client.instruct(json.dumps(policy))["outcomes"]
    if outcome["done"]:  # a machine that has the counters
        assert "dpdk-0, dpdk-1" in outcome["text"]
    else:
        assert "dpdk-0: " in outcome["text"]
        assert "; dpdk-1: " in outcome["text"]


def write(fifos: Path, cpu: int, *pieces: bytes) -> None:
    fd = os.open(fifos / f"fifo{cpu}", os.O_WRONLY)
    for piece in pieces:
        os.write(fd, piece)
    os.close(fd)


def power(unit: str) -> bytes:
    return json.dumps({"instruction": {"command": "power", "unit": unit}}).encode()


def wait_for_frequency(tree: CpuTree, khz: int, group: int = 5) -> None:
    wait_for(lambda: tree.read_khz(CLOCK.format(group)) == khz, f"{khz} kHz")


def wait_for_log(daemon: DaemonProcess, text: str) -> None:
    daemon.wait_for_log(text)


def policies(daemon: DaemonProcess) -> list[tuple[str, Policy]]:
    domains = daemon.status()["domains"]
    return [(d["name"], policy) for d in domains for policy in d["policies"]]


def execute(
    daemon: DaemonProcess, *messages: dict[str, Any], cpu: int | None = None
) -> Any:
    text = "\n".join(map(json.dumps, messages))
    with ControlClient(daemon.socket) as client:
        return client.instruct(text, cpu)["outcomes"]


def test_dts_pstate_via_fifo_the_whole_sequence(
    daemon: DaemonProcess, tree: CpuTree, fifos: Path
) -> None:
    # ENABLE_TURBO raises the frequency, as with DPDK's acpi-cpufreq.
    for unit, khz in [
        ("ENABLE_TURBO", TURBO),
        ("SCALE_MIN", MIN),
        ("SCALE_MAX", TURBO),
        ("DISABLE_TURBO", NOMINAL),
        ("SCALE_MAX", NOMINAL),
        ("SCALE_UP", NOMINAL),
        ("ENABLE_TURBO", TURBO),
        ("SCALE_DOWN", NOMINAL),
        ("SCALE_DOWN", MIDDLE),
        ("SCALE_UP", NOMINAL),
    ]:
        write(fifos, 5, power(unit))
        wait_for_frequency(tree, khz)
        wait_for_log(daemon, f"fifo5: {unit}: CPU 5 set to ")
    assert tree.read_khz(CLOCK.format(4)) != MIN
    with ControlClient(daemon.socket) as client:
        client.release(5)
    write(fifos, 5, power("DISABLE_TURBO"), power("SCALE_MIN"))
    wait_for_frequency(tree, MIN)


def test_f19_split_and_coalesced_messages_are_executed_once_each(
    daemon: DaemonProcess, tree: CpuTree, fifos: Path
) -> None:
    low = power("SCALE_MIN")
    write(fifos, 5, low[:7], low[7:30], low[30:] + power("SCALE_UP") + low[:3])
    wait_for_frequency(tree, MIDDLE)
    write(fifos, 5, low[3:])
    wait_for_frequency(tree, MIN)
    wait_for(lambda: daemon.log_text().count("SCALE_MIN: CPU 5") == 2, "both")
    assert daemon.log_text().count("SCALE_UP: CPU 5") == 1


def test_f19_refusals_are_reported(daemon: DaemonProcess, fifos: Path) -> None:
    write(fifos, 5, b'{"command": "CREAT"} {"command": "power", "unit": "x"}')
    write(fifos, 5, b'{"policy_type": "WORKLOAD"}')
    wait_for(
        lambda: "no running domain has a vCPU pinned" in daemon.log_text(), "refusal"
    )
    log = daemon.log_text()
    assert "fifo5: refused: invalid command 'CREAT': expected one of" in log
    assert "fifo5: refused: invalid unit 'x': expected one of" in log
    with ControlClient(daemon.socket) as client:
        kinds = [event["text"] for event in client.events()]
    assert sum("fifo5: refused" in text for text in kinds) == 3


def test_an_incomplete_message_does_not_swallow_the_next(
    daemon: DaemonProcess, tree: CpuTree, fifos: Path
) -> None:
    write(fifos, 5, b'{"command": ')
    daemon.wait_for_log("refused: incomplete message")
    write(fifos, 5, power("SCALE_MIN"))
    wait_for_frequency(tree, MIN)


def test_a_policy_applies_to_the_domains_that_are_pinned_to_the_cpu(
    daemon: DaemonProcess, tree: CpuTree, fifos: Path
) -> None:
    write(fifos, 3, b'{"policy": {"policy_type": "WORKLOAD", "WORKLOAD": "low"}}')
    wait_for_frequency(tree, MIN, group=3)
    found = [(name, p["source"], p["name"], p["text"]) for name, p in policies(daemon)]
    assert found == [
        ("dpdk-0", "operator", "fifo3", "workload low vcpus=1"),
        ("dpdk-1", "operator", "fifo3", "workload low vcpus=0"),
    ]
    write(fifos, 3, b'{"command": "destroy"}')
    wait_for(lambda: policies(daemon) == [], "no policies")
    write(fifos, 3, b'{"command": "destroy"}')
    daemon.wait_for_log("no domain has a policy 'fifo3'")


def test_f19_the_api_returns_an_outcome_for_each_message(
    daemon: DaemonProcess, tree: CpuTree
) -> None:
    outcomes = execute(
        daemon,
        {"instruction": {"command": "power", "unit": "SCALE_MIN", "resource_id": 5}},
        {"command": "power", "unit": "SCALE_MIN", "core_list": [5, 99]},
        {"name": "vm1", "policy_type": "TIME", "busy_hours": [1], "core_list": [2, 3]},
        {"name": "vm1", "command": "destroy", "colour": "red"},
        {"command": "power", "unit": "ENABLE_TURBO", "resource_id": 5},
        {"command": "power", "unit": "DISABLE_TURBO", "resource_id": 5},
        {"command": "power", "unit": "SCALE_MIN"},
    )
    done = [True, False, True, True, True, True, False]
    assert [outcome["done"] for outcome in outcomes] == done
    assert 'add "resource_id": 3' in outcomes[-1]["hint"]
    wait_for_log(daemon, f"names no CPU ({outcomes[-1]['hint']})")
    texts = [outcome["text"] for outcome in outcomes]
    assert texts == [
        "SCALE_MIN: CPU 5 set to 1.20 GHz",
        "refused: no such CPU: 99",
        "CREATE: time-of-day for dpdk-0, dpdk-1 on CPUs 2-3",
        "DESTROY: vm1 (unknown keys: 'colour')",
        "ENABLE_TURBO: CPU 5 set to 3.00 GHz turbo",
        "DISABLE_TURBO: CPU 5 set to 3.00 GHz",
        "refused: the message names no CPU",
    ]
    wait_for_frequency(tree, NOMINAL)


def test_an_incomplete_message_is_reported(daemon: DaemonProcess) -> None:
    with ControlClient(daemon.socket) as client:
        (outcome,) = client.instruct('{"command": "power"', 5)["outcomes"]
    assert (outcome["done"], outcome["text"]) == (
        False,
        "refused: the last message is incomplete",
    )


def test_fifos_are_private_and_removed_with_the_daemon(
    daemon: DaemonProcess, fifos: Path
) -> None:
    assert sorted(path.name for path in fifos.iterdir()) == [
        f"fifo{n}" for n in range(8)
    ]
    for path in fifos.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert daemon.stop() == 0
    assert list(fifos.iterdir()) == []


# Something else has the name


def fail(_message: object, _cpu: int) -> None:
    raise AssertionError("a message was executed")


def a_world_writable_directory(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def a_file_instead(directory: Path) -> None:
    directory.mkdir()
    (directory / "fifo1").write_text("{}")


def a_link_instead(directory: Path) -> None:
    directory.mkdir()
    os.mkfifo(directory / "real")
    (directory / "fifo1").symlink_to("real")


def no_directory(directory: Path) -> None:
    directory.write_text("")


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (a_world_writable_directory, "is world-writable"),
        (a_file_instead, "is not a FIFO of this user or root"),
        (a_link_instead, "cannot create FIFO"),
        (no_directory, "cannot create FIFO directory"),
    ],
)
def test_s14_other_users_cannot_act_as_the_operator(
    tmp_path: Path, prepare: Callable[[Path], None], problem: str
) -> None:
    prepare(tmp_path / "fifos")
    with pytest.raises(ConfigError, match=problem):
        Fifos(tmp_path / "fifos", fail).keep([1])
