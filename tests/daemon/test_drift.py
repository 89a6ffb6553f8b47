# SPDX-License-Identifier: Apache-2.0
"""Another program changes CPUs that the daemon has taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.control.client import ControlClient
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.control.documents import Cpu, Status
    from orchestrator.power.sysfs import CpuTree
    from tests.daemon.libvirt_test_guests import GuestEnd

POLICY = "devices/system/cpu/cpufreq/policy2/"
LOWEST, MIDDLE = 1_200_000, 2_000_000


@pytest.fixture
def taken(
    uri: str, tree: CpuTree, ends: list[GuestEnd], request: pytest.FixtureRequest
) -> Iterator[DaemonProcess]:
    """A daemon that has taken CPU 2 and set it to its lowest frequency."""
    power = f"verify_s = 0.1\n{getattr(request, 'param', '')}"
    with DaemonProcess(uri, tree.root, power=power) as daemon:
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        yield daemon


def interfere(tree: CpuTree, name: str, value: str) -> None:
    (tree.root / POLICY / name).write_text(f"{value}\n")


def find_cpu(status: Status) -> Cpu:
    return next(cpu for cpu in status["cpus"] if cpu["pcpu"] == 2)


def wait_for_drift(daemon: DaemonProcess) -> str:
    drift = daemon.wait_for(lambda status: find_cpu(status)["drift"])
    assert isinstance(drift, str)
    return drift


@pytest.mark.parametrize(
    ("name", "value", "change"),
    [
        (
            "scaling_governor",
            "performance",
            "the governor was changed to 'performance'",
        ),
        (
            "scaling_setspeed",
            str(MIDDLE),
            "the frequency was changed from 1.20 GHz to 2.00 GHz",
        ),
    ],
)
def test_a_change_stays_is_shown_and_refuses_requests_until_it_is_retaken(
    taken: DaemonProcess,
    tree: CpuTree,
    ends: list[GuestEnd],
    name: str,
    value: str,
    change: str,
) -> None:
    interfere(tree, name, value)
    assert wait_for_drift(taken).startswith(f"{change} by another program")
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
    assert tree.read(POLICY + name) == value
    status = taken.status()
    cure = "'vmpower cpu retake 2' takes it back"
    cpu = find_cpu(status)
    assert not cpu["claimed"]
    assert cpu["reason"] == f"{cpu['drift']}; {cure}"
    channel = find_channel(status, "dpdk-0", 0)
    assert channel
    assert channel["nack_causes"] == {"claim": f"CPU 2: {cpu['reason']}"}
    with ControlClient(taken.socket) as client:
        events = [event for event in client.events() if event["kind"] == "drift"]
        assert [event["facts"]["change"] for event in events] == [change]
        assert client.retake(2)["drift"] is None
    # The guest's vote has lived on.
    assert tree.read(POLICY + "scaling_governor") == "userspace"
    assert tree.read_khz(POLICY + "scaling_setspeed") == LOWEST
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK


def test_an_operators_frequency_retakes_a_cpu(
    taken: DaemonProcess, tree: CpuTree
) -> None:
    interfere(tree, "scaling_governor", "performance")
    wait_for_drift(taken)
    with ControlClient(taken.socket) as client:
        assert client.override(2, MIDDLE)["grant_khz"] == MIDDLE
    assert tree.read(POLICY + "scaling_governor") == "userspace"
    assert find_cpu(taken.status())["drift"] is None


def test_retaking_what_did_not_change_does_nothing(taken: DaemonProcess) -> None:
    with ControlClient(taken.socket) as client:
        assert client.retake(2)["claimed"]
        assert not client.retake(5)["claimed"]
        assert not any("retaken" in event["text"] for event in client.events())


@pytest.mark.parametrize("taken", ["drift = 'retake'\n"], indirect=True)
def test_a_change_is_taken_back_three_times_a_minute(
    taken: DaemonProcess, tree: CpuTree
) -> None:
    for _ in range(3):
        interfere(tree, "scaling_governor", "performance")
        wait_for(
            lambda: tree.read(POLICY + "scaling_governor") == "userspace",
            "the governor is taken back",
        )
        taken.wait_for(
            lambda status: (
                (cpu := find_cpu(status))["claimed"] and cpu["grant_khz"] == LOWEST
            )
        )
    interfere(tree, "scaling_governor", "performance")
    wait_for_drift(taken)
    assert tree.read(POLICY + "scaling_governor") == "performance"


def test_the_original_governor_returns_after_a_frequency_was_changed(
    taken: DaemonProcess, tree: CpuTree
) -> None:
    interfere(tree, "scaling_setspeed", str(MIDDLE))
    wait_for_drift(taken)
    assert taken.stop() == 0
    assert tree.read(POLICY + "scaling_governor") == "schedutil"


def test_a_changed_governor_stays_at_the_end(
    taken: DaemonProcess, tree: CpuTree
) -> None:
    interfere(tree, "scaling_governor", "performance")
    wait_for_drift(taken)
    assert taken.stop() == 0
    assert tree.read(POLICY + "scaling_governor") == "performance"
