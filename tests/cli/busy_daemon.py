# SPDX-License-Identifier: Apache-2.0
"""A real daemon with simulated load, for the pictures in the documentation.

libvirt's test driver runs the domains, the CPUs are simulated, and this process plays
the guests: each requests the frequency that its varying load needs.

    python -m tests.cli.busy_daemon docs   # writes docs/top.svg and docs/status.svg
"""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Unit
from orchestrator.power.simulated import lay_out
from tests.cli.conftest import run_process
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    guest_ends,
    write_driver_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOMAINS = {"dpdk-fw": 2, "dpdk-router": 2, "ovs-dpdk": 2, "video-edge": 2}
"""Number of vCPUs by domain."""
CPUS = 8
"""The number of CPUs of libvirt's test driver."""
_STEPS = 8
_PERIOD_S = 23.0
_SLOWEST_S, _FASTEST_S = 0.25, 0.02


class Load:
    """A vCPU with a load that goes up and down, and requests that follow it.

    Synchronization: runs in its own thread, from `start` to `stop`.
    """

    def __init__(self, end: GuestEnd, vcpu: int, phase: float) -> None:
        self._end, self._vcpu, self._phase = end, vcpu, phase
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        self._connect()
        step, now_s, wait_s = 0, 0.0, 0.1
        with contextlib.suppress(OSError, EOFError):  # the daemon ends first
            while not self._stop.wait(wait_s):
                now_s += wait_s
                angle = 2 * math.pi * (now_s / _PERIOD_S + self._phase)
                load = 0.5 - 0.5 * math.cos(angle) * math.cos(angle / 3)
                wanted = round((1 - load) * (_STEPS - 1))
                unit = Unit.SCALE_DOWN if step < wanted else Unit.SCALE_UP
                step = min(_STEPS - 1, max(0, step + (1 if step < wanted else -1)))
                self._end.request(self._vcpu, unit)
                wait_s = _SLOWEST_S + load * (_FASTEST_S - _SLOWEST_S)

    def _connect(self) -> None:
        while True:
            self._end.accept()
            # On a busy machine, the daemon gives connections up and tries again.
            with contextlib.suppress(BrokenPipeError):
                self._end.connect_packet()
                return


@contextlib.contextmanager
def busy_daemon() -> Iterator[DaemonProcess]:
    """Run the daemon with its guests."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp")
        )
        directory = Path(name)
        lay_out(directory / "sys", cpus=CPUS, sockets=2)
        ends = stack.enter_context(guest_ends(directory, sum(DOMAINS.values())))
        domains = _domains(ends)
        uri = write_driver_file(directory / "node.xml", domains)
        daemon = stack.enter_context(DaemonProcess(uri, directory / "sys"))
        at = 0
        for domain in domains:
            for vcpu in range(len(domain.paths)):
                load = Load(ends[at], vcpu, at * 0.13)
                load.start()
                stack.callback(load.stop)
                at += 1
        yield daemon


def _domains(ends: Sequence[GuestEnd]) -> list[DriverDomain]:
    domains, first = list[DriverDomain](), 0
    for number, (name, vcpus) in enumerate(DOMAINS.items(), 1):
        own = range(first, first + vcpus)
        pins = [str(cpu + 1) for cpu in own]
        if name == "video-edge":
            pins[-1] = "0-7"  # floats over all CPUs: has no clock group
        paths = {vcpu: ends[at].path for vcpu, at in enumerate(own)}
        domains.append(DriverDomain(name=name, pins=pins, paths=paths, number=number))
        first += vcpus
    return domains


def write_pictures(directory: Path) -> None:
    """Write the pictures of the documentation."""
    with busy_daemon() as daemon:
        for arguments in (
            ("cpu", "set", "7", "2.1GHz"),
            (
                "top",
                "--samples",
                "80",
                "-d",
                "0.5",
                "--svg",
                str(directory / "top.svg"),
            ),
            ("status", "--svg", str(directory / "status.svg")),
        ):
            status, _, err = run_process(daemon.run_dir, *arguments)
            if status:
                raise SystemExit(err)


if __name__ == "__main__":
    write_pictures(Path(sys.argv[1]).resolve())
