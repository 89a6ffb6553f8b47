# SPDX-License-Identifier: Apache-2.0
"""The daemon on Linux's own driver while others change its CPUs.

Runs in a lab, whose CPUs may be switched off: ``python3 -m
tests.daemon.drift_on_linux``. Each function is one scenario. The CPUs are read again
and groups are released at the same interval, so that both happen at the same moment
again and again.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.control.client import ControlClient
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    write_driver_file,
)
from tests.rig.waiting import DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CPU = Path("/sys/devices/system/cpu/cpu1")
LOWEST, MIDDLE, TURBO = 1_200_000, 2_000_000, 3_001_000


def write(name: str, value: str) -> None:
    (CPU / name).write_text(value)


def read(name: str) -> str:
    return (CPU / "cpufreq" / name).read_text().strip()


def check_setting(name: str, value: object) -> None:
    assert read(name) == str(value), f"{name}: {read(name)}, expected {value}"


def wait_for_setting(name: str, value: object) -> None:
    wait_for(lambda: read(name) == str(value), f"{name} {value}")


class Scenario:
    """A daemon, and a guest whose vCPU 0 is pinned to CPU 1."""

    def __init__(self, daemon: DaemonProcess, guest: GuestEnd) -> None:
        self.daemon = daemon
        self.guest = guest

    def request(self, unit: Unit) -> Answer:
        return self.guest.request(0, unit)

    def wait_for(self, unit: Unit, answer: Answer) -> None:
        what = f"{answer.name} for {unit.name}"
        wait_for(lambda: self.request(unit) is answer, what)

    def wait_for_drift(self) -> str:
        def find() -> str | None:
            cpus = self.daemon.status()["cpus"]
            # Not listed: it was just switched on again.
            return next((cpu["drift"] for cpu in cpus if cpu["pcpu"] == 1), None)

        return wait_for(find, "a drift")

    def retake(self) -> None:
        with ControlClient(self.daemon.socket, timeout_s=DEADLINE_S) as client:
            client.retake(1)


@contextlib.contextmanager
def begin(power: str = "") -> Iterator[Scenario]:
    """Start a daemon; the guest has requested the lowest frequency."""
    with tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as name:
        guest = GuestEnd(Path(name) / "0")
        domain = DriverDomain(name="g", pins=("1",), paths={0: guest.path})
        uri = write_driver_file(Path(name) / "node.xml", [domain])
        with (
            contextlib.closing(guest),
            DaemonProcess(
                uri,
                Path("/sys"),
                resync_s=1.0,
                release_after_s=1.0,
                power=power,
            ) as daemon,
        ):
            daemon.wait_for_channel("g", 0, "open")
            guest.accept()
            scenario = Scenario(daemon, guest)
            scenario.wait_for(Unit.SCALE_MIN, Answer.ACK)
            yield scenario


@contextlib.contextmanager
def play(power: str = "") -> Iterator[Scenario]:
    with begin(power) as scenario:
        check_setting("scaling_setspeed", LOWEST)
        yield scenario
        assert scenario.daemon.stop() == 0


def a_cpu_that_was_switched_off_and_on_gets_its_frequency_back(it: Scenario) -> None:
    for _ in range(5):
        write("online", "0")
        it.wait_for(Unit.SCALE_MIN, Answer.NACK)
        write("online", "1")
        began = time.monotonic()
        # By itself: the guest sends nothing.
        wait_for_setting("scaling_setspeed", LOWEST)
        took_ms = 1e3 * (time.monotonic() - began)
        sys.stdout.write(f"frequency after {took_ms:.0f} ms\n")
        assert it.request(Unit.SCALE_MIN) is Answer.ACK
        check_setting("scaling_setspeed", LOWEST)


def an_acknowledged_request_is_in_effect_whenever_cpus_are_switched(
    it: Scenario,
) -> None:
    for number in range(20):
        write("online", "0")
        write("online", "1")
        unit, khz = ((Unit.SCALE_MIN, LOWEST), (Unit.SCALE_MAX, TURBO))[number % 2]
        it.wait_for(unit, Answer.ACK)
        check_setting("scaling_governor", "userspace")
        wait_for_setting("scaling_setspeed", khz)


def another_governor_stays_until_it_is_retaken(it: Scenario) -> None:
    it.wait_for(Unit.SCALE_MIN, Answer.ACK)
    write("cpufreq/scaling_governor", "performance")
    assert it.request(Unit.SCALE_MAX) is Answer.NACK
    drift = it.wait_for_drift()
    assert drift.startswith("the governor was changed to 'performance'"), drift
    # Also if it is set back: setting the frequency again is for the operator.
    write("cpufreq/scaling_governor", "userspace")
    assert it.request(Unit.SCALE_MIN) is Answer.NACK
    it.retake()
    it.wait_for(Unit.SCALE_MIN, Answer.ACK)
    check_setting("scaling_setspeed", LOWEST)


def another_frequency_stays_until_it_is_retaken(it: Scenario) -> None:
    write("cpufreq/scaling_setspeed", str(MIDDLE))
    drift = it.wait_for_drift()
    assert drift.startswith("the frequency was changed from 1.20 GHz"), drift
    assert it.request(Unit.SCALE_MIN) is Answer.NACK
    check_setting("scaling_setspeed", MIDDLE)
    it.retake()
    wait_for_setting("scaling_setspeed", LOWEST)


def a_lower_limit_of_the_kernel_is_no_drift(it: Scenario) -> None:
    it.wait_for(Unit.SCALE_MAX, Answer.ACK)
    write("cpufreq/scaling_max_freq", str(MIDDLE))
    for _ in range(5):
        it.wait_for(Unit.SCALE_MAX, Answer.ACK)
        assert it.daemon.status()["cpus"][1]["drift"] is None
    write("cpufreq/scaling_max_freq", str(TURBO))


def a_group_is_released_when_its_guest_is_gone(it: Scenario) -> None:
    it.guest.peer.close()
    wait_for_setting("scaling_governor", "schedutil")
    it.guest.accept()
    it.wait_for(Unit.SCALE_MIN, Answer.ACK)
    check_setting("scaling_setspeed", LOWEST)


def another_governor_is_noticed_without_a_request(it: Scenario) -> None:
    write("cpufreq/scaling_governor", "performance")
    it.wait_for_drift()
    assert it.request(Unit.SCALE_MIN) is Answer.NACK
    assert it.daemon.stop() == 0
    check_setting("scaling_governor", "performance")
    write("cpufreq/scaling_governor", "schedutil")


def another_governor_is_taken_back_if_configured(it: Scenario) -> None:
    write("cpufreq/scaling_governor", "performance")
    wait_for_setting("scaling_governor", "userspace")
    wait_for_setting("scaling_setspeed", LOWEST)
    it.wait_for(Unit.SCALE_MIN, Answer.ACK)


PLAYS: tuple[tuple[str, tuple[Callable[[Scenario], None], ...]], ...] = (
    (
        "",
        (
            a_cpu_that_was_switched_off_and_on_gets_its_frequency_back,
            an_acknowledged_request_is_in_effect_whenever_cpus_are_switched,
            another_governor_stays_until_it_is_retaken,
            another_frequency_stays_until_it_is_retaken,
            a_lower_limit_of_the_kernel_is_no_drift,
            a_group_is_released_when_its_guest_is_gone,
            another_governor_is_noticed_without_a_request,
        ),
    ),
    ("drift = 'retake'\n", (another_governor_is_taken_back_if_configured,)),
)
"""Options of table [power], and what is played with one daemon, in order."""


def main() -> int:
    """Play everything; print one line for each scenario."""
    for power, scenarios in PLAYS:
        with play(power) as it:
            for scenario in scenarios:
                scenario(it)
                sys.stdout.write(f"ok {scenario.__name__}\n")
                sys.stdout.flush()
        check_setting("scaling_governor", "schedutil")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
