# SPDX-License-Identifier: Apache-2.0
"""Metrics of a whole daemon with traffic."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.control import METRICS_PATH
from orchestrator.control.client import ControlClient
from orchestrator.metrics.families import FAMILIES
from tests.control.test_metrics import free_port
from tests.daemon.daemon_process import CHECKOUT, DaemonProcess
from tests.rig.waiting import DEADLINE_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree
    from tests.daemon.libvirt_test_guests import GuestEnd

UUID = "00000000-0000-4000-8000-000000000001"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
    }


def scrape(port: int) -> Series:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request("GET", METRICS_PATH)
        return parse(connection.getresponse().read().decode())
    finally:
        connection.close()


PRICES = """
[energy]
price_per_kwh = 0.30
currency = "EUR"
co2_g_per_kwh = 350
"""


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((f"vmpower_{name}", frozenset(labels.items())))


def test_what_guests_and_operators_do_is_measured(
    uri: str, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    port = free_port("127.0.0.1")
    config = f'[metrics]\nlisten = "127.0.0.1:{port}"\n' + PRICES
    of = {"domain": "dpdk-0", "uuid": UUID}
    with DaemonProcess(uri, tree.root, config=config, power="verify_s = 0.2") as daemon:
        for number, end in enumerate(ends):
            daemon.wait_for_channel("dpdk-0", number, "open")
            end.accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        assert ends[1].request(7, Unit.SCALE_MIN) is Answer.NACK
        daemon.wait_for_answers("dpdk-0", 1, 1)
        with ControlClient(daemon.socket) as client:
            client.override(5, khz=2_000_000)
            client.set_policy("dpdk-0", "night", text="workload low")

        def shown() -> Series | None:
            series = scrape(port)
            is_read = value(series, "vcpu_obtained_hertz", vcpu="0", **of) == 1.2e9
            # Energy is there after two samples, which take more than a second.
            is_accounted = value(series, "domain_saved_joules_total", **of) is not None
            return series if is_read and is_accounted else None

        series = wait_for(shown, "the frequency of vCPU 0")
        for family in FAMILIES:
            name = family.name.removeprefix("vmpower_")
            assert any(key.startswith(f"vmpower_{name}") for key, _ in series), name
        assert value(series, "cpu_granted_hertz", cpu="2") == 1.2e9
        assert value(series, "cpu_granted_hertz", cpu="5") == 2e9
        assert value(series, "cpu_granted_hertz", cpu="7") is None
        assert value(series, "domain_refusals_total", cause="no-vcpu", **of) == 1
        assert (value(series, "domain_requests_total", answer="ack", **of) or 0) >= 1
        assert (value(series, "request_latency_seconds_count") or 0) >= 2
        assert value(series, "clock_groups_overridden") == 1
        policy = {"kind": "workload", "source": "operator", **of}
        assert value(series, "domain_policies", **policy) == 1
        assert daemon.status()["daemon"]["problems"] == []


def test_an_address_in_use_is_shown_and_tried_again_while_guests_are_served(
    uri: str, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = f'[metrics]\nlisten = "127.0.0.1:{port}"\n'
        daemon = DaemonProcess(uri, tree.root, config=config, resync_s=1.0)
        with daemon:
            daemon.wait_for_channel("dpdk-0", 0, "open")
            ends[0].accept()
            assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
            (problem,) = daemon.status()["daemon"]["problems"]
            expected = f"metrics: cannot listen at 127.0.0.1:{port}: Address already"
            assert problem.startswith(expected)
            other.close()
            daemon.wait_for(lambda status: not status["daemon"]["problems"])
            assert value(scrape(port), "enforcing") == 1


def test_a_reload_does_not_move_the_address(daemon: DaemonProcess) -> None:
    text = daemon.config.read_text(encoding="utf-8")
    changed = f'{text}[metrics]\nlisten = "127.0.0.1:1"\n'
    daemon.config.write_text(changed, encoding="utf-8")
    daemon.signal(signal.SIGHUP)
    refused = "configuration not reloaded: metrics changed"
    daemon.wait_for_log(refused)


def test_a_scrape_opens_no_file_and_calls_no_libvirt(
    directory: Path, uri: str, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    assert len(ends) == 2
    config = directory / "vmpower.toml"
    config.write_text(
        f'run_dir = "{directory / "run"}"\nsysfs_root = "{tree.root}"\n'
        f'[libvirt]\nuri = "{uri}"\nresync_s = 86400\n[power]\nverify_s = 86400\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "tests.daemon.counted_scrape", str(config)]
    done = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["is_watching"]
    assert (found["opened"], found["calls"]) == ([], [])
    assert 'vmpower_domain_info{domain="dpdk-0"' in found["text"]
