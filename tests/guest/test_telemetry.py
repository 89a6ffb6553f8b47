# SPDX-License-Identifier: Apache-2.0
"""Loads from the telemetry socket of a DPDK application, which a thread plays."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.errors import ConfigError
from orchestrator.guest.load import CpuTimes
from orchestrator.guest.telemetry import DpdkTelemetry
from tests.guest.pseudo_port import PseudoPort
from tests.guest.serving_monitor import ServingMonitor
from tests.guest.test_command import start
from tests.monitor.in_process_monitor import LOWEST, TURBO, InProcessMonitor
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class DpdkApplication:
    """Serves lcores, each with a CPU set and counters, as DPDK 25.11 does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lcores: dict[int, dict[str, Any]] = {}
        self.connections: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            greeting = {"version": "DPDK 25.11.0", "pid": 7, "max_output_len": 16384}
            connection.send(json.dumps(greeting).encode())
            self.connections.append(connection)
            self._threads.append(
                threading.Thread(target=self._serve, args=(connection,))
            )
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        while command := connection.recv(1024).decode():
            name, _, argument = command.partition(",")
            answer = self.lcores[int(argument)] if argument else list(self.lcores)
            connection.send(json.dumps({name: answer}).encode())

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        for connection in self.connections:
            connection.close()
        self.path.unlink()


@pytest.fixture
def application(tmp_path: Path) -> Iterator[DpdkApplication]:
    served = DpdkApplication(tmp_path / "dpdk_telemetry.v2")
    yield served
    if served.path.exists():
        served.end()


def lcore(cpus: list[int], busy: int, total: int) -> dict[str, Any]:
    return {"cpuset": cpus, "busy_cycles": busy, "total_cycles": total}


def test_cycles_are_those_of_the_cpu_that_an_lcore_is_pinned_to(
    application: DpdkApplication,
) -> None:
    application.lcores = {
        0: {"cpuset": [0]},  # the main lcore of testpmd forwards nothing
        5: lcore([2], 30, 100),
        6: lcore([3, 4], 30, 100),  # it floats
    }
    telemetry = DpdkTelemetry(application.path)
    assert telemetry.read_times() == {2: CpuTimes(busy=30, total=100)}
    application.lcores[5] = lcore([2], 31, 200)
    assert telemetry.read_times() == {2: CpuTimes(busy=31, total=200)}
    assert len(application.connections) == 1
    telemetry.close()


def test_an_application_that_counts_nothing_is_an_error_with_a_hint(
    application: DpdkApplication,
) -> None:
    application.lcores = {0: {"cpuset": [0]}}
    telemetry = DpdkTelemetry(application.path)
    with pytest.raises(ConfigError, match="counts no busy cycles") as caught:
        telemetry.read_times()
    assert "--record-core-cycles" in caught.value.hint
    telemetry.close()


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b'{"max_output_len": null}'])
def test_what_is_no_telemetry_socket_is_an_error(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "odd"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.send(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(ConfigError, match="cannot read loads from"):
            DpdkTelemetry(path).read_times()
        thread.join()
    with pytest.raises(ConfigError, match="cannot read loads from"):
        DpdkTelemetry(tmp_path / "none").read_times()


@pytest.mark.rig
def test_dpdks_own_application_is_read_or_too_old(tmp_path: Path) -> None:
    words = "--no-huge -m 128 --no-pci --vdev net_null0 --vdev net_null1 -l 0,1 --"
    command = ["dpdk-testpmd", *words.split(), "--total-num-mbufs=2048"]
    process = subprocess.Popen(
        [*command, "--record-core-cycles", "--stats-period", "1"],
        env={**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    path = tmp_path / "dpdk" / "rte" / "dpdk_telemetry.v2"
    telemetry = DpdkTelemetry(path)

    def greeting() -> str | None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            if connection.connect_ex(str(path)):
                return None
            return str(json.loads(connection.recv(1024))["version"])

    try:
        version = wait_for(greeting, "testpmd answers", timeout_s=60)
        if version < "DPDK 23.03":
            with pytest.raises(ConfigError, match=r"DPDK 23\.03 or later is required"):
                telemetry.read_times()
        else:
            # Counting begins with the first packets.
            times = wait_for(partial(_try, telemetry), "cycles", timeout_s=60)
            assert list(times) == [1]
    finally:
        telemetry.close()
        process.kill()
        process.wait(timeout=60)


def _try(telemetry: DpdkTelemetry) -> dict[int, CpuTimes] | None:
    with suppress(ConfigError):
        return telemetry.read_times()
    return None


def test_auto_follows_the_cycles_and_requests_the_highest_when_they_end(
    monitor: InProcessMonitor, application: DpdkApplication, tmp_path: Path
) -> None:
    cycles = {"busy": 0, "total": 0}

    def is_at(khz: int, busy: int) -> bool:
        cycles["busy"] += busy
        cycles["total"] += 100
        application.lcores = {0: lcore([0], **cycles)}
        return monitor.frequency() == khz

    guest = monitor.simple()
    is_at(0, 0)
    command = ("--timeout", "20", "--devices", tmp_path, "auto", "-i", "0.02")
    with PseudoPort(tmp_path, 0, guest), ServingMonitor(monitor):
        process = start(*command, "--dpdk", application.path)
        wait_for(lambda: is_at(LOWEST, 10), "the lowest frequency", timeout_s=60)
        application.end()
        wait_for(lambda: monitor.frequency() == TURBO, "the highest", timeout_s=60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith(f"cannot read loads from {application.path}: ")
