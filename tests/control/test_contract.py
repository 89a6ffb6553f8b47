# SPDX-License-Identifier: Apache-2.0
"""What the API promises, of the fake daemon and of the real one.

The real one is a vmpowerd process on libvirt's test driver and simulated CPUs. Both
hosts have the domains `dpdk-fw` (running: vCPUs 0 and 1 in clock group 2, vCPU 2 not in
one group; channels 0 to 2) and `web` (shut off), the CPUs 0 to 5 in groups of two, and
CPU 6, which is offline.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from orchestrator.control import CONTROL_SOCKET
from orchestrator.control.client import ControlClient
from orchestrator.errors import ControlError
from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.power.simulated import lay_out, switch_cpu
from orchestrator.values.domain_settings import Mode
from tests.control.fake_daemon import FakeDaemon, serving
from tests.control.fake_host import STEPS
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    guest_ends,
    write_driver_file,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from orchestrator.control.documents import Energy, EventRecord

DOMAIN, STOPPED = "dpdk-fw", "web"
CPU, SIBLING, OFFLINE, UNKNOWN = 2, 3, 6, 77


class Conditions(NamedTuple):
    """How a host is set up."""

    mode: Mode = Mode.ENFORCE
    host: Limits = NO_LIMITS
    """Of the configuration."""
    kernel: Limits = NO_LIMITS
    """Of the administrator, in scaling_min_freq and scaling_max_freq."""


@contextmanager
def fake_daemon(conditions: Conditions) -> Iterator[Path]:
    limits = conditions.host.within(conditions.kernel)
    with (
        tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as directory,
        serving(
            Path(directory), lambda: FakeDaemon(mode=conditions.mode, limits=limits)
        ),
    ):
        yield Path(directory) / CONTROL_SOCKET


@contextmanager
def real_daemon(conditions: Conditions) -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as name,
        guest_ends(Path(name), 3) as ends,
    ):
        directory = Path(name)
        paths = {number: end.path for number, end in enumerate(ends)}
        domains = [
            DriverDomain(name=DOMAIN, pins=("2", "3", "0,4"), paths=paths),
            DriverDomain(name=STOPPED, paths={}, number=2, is_running=False),
        ]
        uri = write_driver_file(directory / "node.xml", domains)
        lay_out_tree(directory / "sys", conditions.kernel)
        config = f"mode = '{conditions.mode}'\n{bounds_in_toml(conditions.host)}"
        config += f"[energy]\ncalibration_file = '{directory}/state/energy.json'\n"
        with DaemonProcess(uri, directory / "sys", config=config) as daemon:
            for number in paths:
                daemon.wait_for_channel(DOMAIN, number, "open")
            yield daemon.socket


def lay_out_tree(root: Path, limits: Limits) -> None:
    lay_out(root, cpus=7, shared=2, steps_khz=STEPS)
    switch_cpu(root, OFFLINE, is_online=False)
    policies = root / "devices/system/cpu/cpufreq"
    for path in policies.glob("policy*/scaling_min_freq"):
        path.write_text(f"{max(limits.min_khz, STEPS[-1])}\n")
    for path in policies.glob("policy*/scaling_max_freq"):
        path.write_text(f"{min(limits.max_khz, STEPS[0])}\n")


def bounds_in_toml(limits: Limits) -> str:
    options = limits._asdict().items()
    lines = (f"{n} = {khz}\n" for n, khz in options if khz not in NO_LIMITS)
    return "[bounds]\n" + "".join(lines)


DAEMONS = {"fake": fake_daemon, "real": real_daemon}


@pytest.fixture(scope="module", params=DAEMONS.values(), ids=list(DAEMONS))
def socket(request: pytest.FixtureRequest) -> Iterator[Path]:
    with request.param(Conditions()) as socket:
        yield socket


@pytest.fixture
def client(socket: Path) -> Iterator[ControlClient]:
    """A client of a daemon without overrides, policies and disabled channels."""
    with ControlClient(socket) as client:
        client.release(CPU)
        domain = client.domain(DOMAIN)
        for channel in domain["channels"]:
            if not channel["enabled"]:
                client.switch_channel(DOMAIN, channel["number"], enabled=True)
        for policy in domain["policies"]:
            if policy["source"] == "operator":
                client.remove_policy(DOMAIN, policy["name"])
        yield client


@contextmanager
def refused(status: int, text: str = ".") -> Iterator[None]:
    """Expect a failure with an HTTP status."""
    with pytest.raises(ControlError, match=text) as caught:
        yield
    assert caught.value.status == status


def news(client: ControlClient, change: Callable[[], object]) -> list[EventRecord]:
    """Make a change; return the events that were recorded meanwhile."""
    before = len(list(client.events()))
    change()
    return list(client.events())[before:]


@pytest.mark.parametrize(
    ("pcpu", "text"),
    [(UNKNOWN, "no such CPU: 77"), (OFFLINE, "CPU 6 cannot be set: offline")],
)
def test_a_cpu_that_cannot_be_set_is_not_found(
    client: ControlClient, pcpu: int, text: str
) -> None:
    with refused(404, text):
        client.cpu(pcpu)
    with refused(404, text):
        client.override(pcpu, STEPS[0])
    with refused(404, text):
        client.release(pcpu)


def test_what_a_domain_does_not_have_is_not_found(client: ControlClient) -> None:
    with refused(404, "no such domain: 'nobody'"):
        client.domain("nobody")
    with refused(404, "no such domain: 'nobody'"):
        client.switch_channel("nobody", 0, enabled=False)
    with refused(404, "no such domain: 'nobody'"):
        client.set_policy("nobody", "x", "utilisation")
    with refused(404, "has no channel 9"):
        client.switch_channel(DOMAIN, 9, enabled=False)
    with refused(404):
        client.remove_policy(DOMAIN, "x")


@pytest.mark.parametrize(
    ("khz", "set_khz"),
    [
        (1, 1_200_000),
        (1_200_000, 1_200_000),
        (1_900_000, 2_200_000),
        (3_000_500, 3_001_000),
        (9_999_999, 3_001_000),
    ],
)
def test_an_override_is_rounded_up_to_a_step_for_the_whole_group(
    client: ControlClient, khz: int, set_khz: int
) -> None:
    answer = client.override(CPU, khz)
    assert answer["pcpu"] == CPU
    for cpu in (answer, client.cpu(SIBLING)):
        assert cpu["override_khz"] == cpu["grant_khz"] == set_khz
        assert cpu["current_khz"] == set_khz
        assert cpu["claimed"]


def test_energy_is_accounted_and_can_be_calibrated(client: ControlClient) -> None:
    client.calibrate([{"package": 0, "watts": 17.5}], [])

    document = wait_for_energy(
        client, lambda it: it["packages"][0]["static_watts"] == 17.5
    )
    assert document["enabled"]
    assert document["packages"][0]["static_calibrated"]
    assert {it["activity"] for it in document["packages"][0]["curves"]} == {
        "poll",
        "other",
    }
    assert document["host"] is not None
    assert client.status()["energy"] is not None


def test_a_calibration_that_cannot_be_is_refused(client: ControlClient) -> None:
    with refused(409, "invalid power -1.0"):
        client.calibrate([{"package": 0, "watts": -1.0}], [])
    with refused(409, "invalid curve"):
        client.calibrate([], [{"khz": 2, "watts": 1.0}, {"khz": 1, "watts": 1.0}])


def wait_for_energy(
    client: ControlClient, is_there: Callable[[Energy], bool]
) -> Energy:
    def query() -> Energy | None:
        document = client.energy()
        is_complete = document["host"] and document["packages"] and is_there(document)
        return document if is_complete else None

    return wait_for(query, "energy is accounted")


def test_a_release_ends_the_override_of_the_whole_group_and_may_be_repeated(
    client: ControlClient,
) -> None:
    client.override(CPU, 2_000_000)
    assert client.release(SIBLING)["override_khz"] is None
    assert client.cpu(CPU)["override_khz"] is None
    assert news(client, lambda: client.release(CPU)) == []


@pytest.mark.parametrize("start", DAEMONS.values(), ids=list(DAEMONS))
@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(host=Limits(1_500_000, 2_500_000)),
        Conditions(host=Limits(1_500_000), kernel=Limits(max_khz=2_500_000)),
    ],
    ids=["host", "kernel"],
)
def test_a_frequency_is_limited_to_steps_that_the_host_and_the_kernel_permit(
    start: Callable[[Conditions], AbstractContextManager[Path]],
    conditions: Conditions,
) -> None:
    with start(conditions) as socket, ControlClient(socket) as client:
        cpu = client.cpu(CPU)
        assert (cpu["min_khz"], cpu["max_khz"]) == (1_800_000, 2_200_000)
        for khz, set_khz in ((1, 1_800_000), (2_300_000, 2_200_000)):
            cpu = client.override(CPU, khz)
            assert cpu["override_khz"] == cpu["grant_khz"] == set_khz
            assert cpu["current_khz"] == set_khz


@pytest.mark.parametrize("start", DAEMONS.values(), ids=list(DAEMONS))
def test_a_daemon_that_observes_sets_no_frequency(
    start: Callable[[Conditions], AbstractContextManager[Path]],
) -> None:
    with (
        start(Conditions(mode=Mode.OBSERVE)) as socket,
        ControlClient(socket) as client,
    ):
        with refused(409, "observe mode"):
            client.override(CPU, STEPS[0])
        with refused(409, "observe mode"):
            client.release(CPU)
        with refused(404):
            client.override(UNKNOWN, STEPS[0])
        assert client.status()["daemon"]["mode"] == "observe"
        assert client.cpu(CPU)["override_khz"] is None


def test_a_channel_is_disabled_and_enabled_and_either_may_be_repeated(
    client: ControlClient,
) -> None:
    for enabled, state in (
        *((False, "disabled"), (False, "disabled")),
        *((True, "open"), (True, "open")),
    ):
        channel = client.switch_channel(DOMAIN, 1, enabled=enabled)
        assert (channel["number"], channel["enabled"]) == (1, enabled)
        assert channel["state"] == state
        assert client.domain(DOMAIN)["channels"][1] == channel


def test_a_policy_is_set_replaced_and_removed_by_its_name(
    client: ControlClient,
) -> None:
    def own() -> list[tuple[str, str, list[int]]]:
        return [
            (one["name"], one["text"], [want["vcpu"] for want in one["wants"]])
            for one in client.policies()["policies"]
            if (one["domain"], one["source"]) == (DOMAIN, "operator")
        ]

    set_ = client.set_policy(DOMAIN, "a", "workload high")
    assert (set_["source"], set_["name"], set_["kind"]) == ("operator", "a", "workload")
    client.set_policy(DOMAIN, "b", "workload low vcpus=1-2")
    assert own() == [
        ("a", "workload high", [0, 1]),
        ("b", "workload low vcpus=1-2", [1]),
    ]
    client.set_policy(DOMAIN, "b", "workload medium vcpus=0")
    assert dict(one[:2] for one in own())["b"] == "workload medium vcpus=0"
    left = client.remove_policy(DOMAIN, "a")["policies"]
    assert [one["name"] for one in left if one["source"] == "operator"] == ["b"]
    with refused(404):
        client.remove_policy(DOMAIN, "a")


@pytest.mark.parametrize(
    ("domain", "text", "status", "reason"),
    [
        (STOPPED, "workload low", 409, "the domain is not running"),
        (DOMAIN, "workload low vcpus=7", 409, "has no vCPU 7"),
        (DOMAIN, "speed", 422, "speed"),
        (DOMAIN, "workload low; workload high", 422, "expected one policy, not 2"),
    ],
)
def test_a_policy_that_cannot_be_applied_is_refused(
    client: ControlClient, domain: str, text: str, status: int, reason: str
) -> None:
    with refused(status, reason):
        client.set_policy(domain, "x", text)
    assert "x" not in [one["name"] for one in client.policies()["policies"]]


def test_a_policy_for_a_vcpu_that_is_not_pinned_is_set_with_a_warning(
    client: ControlClient,
) -> None:
    done = client.set_policy(DOMAIN, "x", "workload low vcpus=1-2")
    (warning,) = done["warnings"]
    assert warning.startswith("no effect on vCPU 2 now: ")
    assert [want["vcpu"] for want in done["wants"]] in ([], [1])
    assert client.set_policy(DOMAIN, "x", "workload low vcpus=1")["warnings"] == []


def test_changes_by_operators_are_recorded_as_events(client: ControlClient) -> None:
    def changed(change: Callable[[], object]) -> tuple[str, str | None, object]:
        found = [
            (one["kind"], one["domain"], one["facts"])
            for one in news(client, change)
            if one["kind"] in ("operator", "policy")
        ]
        (event,) = found
        return event

    step = 2_200_000
    assert changed(lambda: client.override(CPU, step)) == (
        *("operator", None),
        {"group": 2, "khz": step},
    )
    assert changed(lambda: client.release(CPU)) == ("operator", None, {"group": 2})
    assert changed(lambda: client.switch_channel(DOMAIN, 0, enabled=False)) == (
        *("operator", DOMAIN),
        {},
    )
    policy = ("policy", DOMAIN, {"source": "operator x"})
    assert changed(lambda: client.set_policy(DOMAIN, "x", "workload low")) == policy
    assert changed(lambda: client.remove_policy(DOMAIN, "x")) == policy


def test_a_follower_receives_a_change_when_it_happens(
    client: ControlClient, socket: Path
) -> None:
    with ControlClient(socket) as follower:
        recent = len(list(client.events()))
        events = follower.events(follow=True)
        for _ in range(recent):
            next(events)
        client.override(CPU, 2_200_000)
        kinds = iter(event["kind"] for event in events)
        assert "operator" in kinds  # ends the wait when it has come


def test_messages_for_vm_power_manager_are_executed_in_their_order(
    client: ControlClient,
) -> None:
    good = {"command": "power", "unit": "SCALE_MIN", "resource_id": CPU}
    bad = good | {"unit": "SCALE_SIDEWAYS"}
    text = "\n".join(map(json.dumps, (good, bad, good)))
    outcomes = client.instruct(text)["outcomes"]
    assert [outcome["done"] for outcome in outcomes] == [True, False, True]
    assert all(outcome["text"] for outcome in outcomes)
