# SPDX-License-Identifier: Apache-2.0
"""The rules and the dashboard, in Debian's Prometheus beside a daemon with traffic."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from examples.guests.packages import UnavailableError
from orchestrator.channel.protocol import Request, Unit, encode
from orchestrator.control.client import ControlClient
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CPU_DIR
from tests.control.test_metrics import free_port
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.imitated_meter import ImitatedMeter
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    guest_ends,
    write_driver_file,
)
from tests.daemon.traffic import Traffic
from tests.rig.prometheus import Prometheus, find_program, running
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.rig

EXAMPLES = Path(__file__).parents[2] / "examples"
RULES = EXAMPLES / "prometheus" / "rules.yml"
DASHBOARD = json.loads((EXAMPLES / "grafana" / "dashboard.json").read_text())
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())
GARBAGE = b"\xff" * 464
PRICES = """\
[energy]
price_per_kwh = 0.3
co2_g_per_kwh = 380
"""
WATTS = 60.0
LOWEST, HIGHEST = 1_200_000, 3_000_000
WITHOUT_FAULT = {"VmpowerVcpusFloating"}
"""A domain of the host has a floating vCPU from the beginning."""
UNSURE = {"VmpowerFrequencyNotObtained"}
"""Of averages of a few samples, while the guests change frequencies all the time."""


class Scene(NamedTuple):
    prometheus: Prometheus
    daemon: DaemonProcess
    client: ControlClient
    ends: list[GuestEnd]
    cpufreq: Path
    meter: ImitatedMeter

    def are_rules_evaluated(self) -> bool:
        return {it["health"] for it in self.prometheus.rules()} == {"ok"}

    def answer(self, query: str) -> list[dict[str, Any]]:
        """Wait until a query has an answer, and return it."""
        return wait_for(lambda: self.prometheus.query(query) or None, query)

    def kill_monitor(self) -> None:
        """Kill the monitor process, and wait for the next one."""
        killed = self.daemon.monitor_pid
        os.kill(killed, signal.SIGKILL)
        self.daemon.wait_for(
            lambda status: status["daemon"]["monitor_pid"] not in (None, killed)
        )

    def wait_until_firing(self, alert: str) -> None:
        try:
            wait_for(lambda: alert in self.prometheus.firing(), alert)
        except TimeoutError as error:
            error.add_note(f"firing: {self.prometheus.firing()}")
            raise


@contextmanager
def scene() -> Iterator[Scene]:
    """A daemon with traffic that Prometheus scrapes; rules fire without delay."""
    with ExitStack() as stack:
        # Four channels: fw has 0 and 1 with traffic, gw has 2, and web has 3.
        name = stack.enter_context(TemporaryDirectory(prefix="vmp-", dir="/tmp"))
        directory = Path(name)
        ends = stack.enter_context(guest_ends(directory, 4))
        paths = [end.path for end in ends]
        domains = [
            DriverDomain(name="fw", pins=("2", "3"), paths=dict(enumerate(paths[:2]))),
            DriverDomain(name="gw", pins=("4",), paths={0: paths[2]}, number=2),
            DriverDomain(name="web", pins=("5,6",), paths={0: paths[3]}, number=3),
        ]
        uri = write_driver_file(directory / "node.xml", domains)
        steps = (HIGHEST, 2_000_000, LOWEST)
        lay_out(directory / "sys", cpus=8, steps_khz=steps)
        meter = ImitatedMeter(directory / "sys", watts=WATTS)
        stack.enter_context(meter)
        target = f"127.0.0.1:{free_port('127.0.0.1')}"
        daemon = DaemonProcess(
            uri,
            directory / "sys",
            config=f'[metrics]\nlisten = "{target}"\n{PRICES}',
            power="verify_s = 0.2",
        )
        daemon.module = "tests.daemon.with_processes"
        (daemon.run_dir / "qemu").mkdir()
        (daemon.run_dir / "qemu" / "fw.pid").write_text(f"{os.getpid()}")
        stack.enter_context(daemon)
        for number, end in enumerate(ends):
            domain = ("fw", "fw", "gw", "web")[number]
            daemon.wait_for_channel(domain, number if number < 2 else 0, "open")
            end.accept()
        client = stack.enter_context(ControlClient(daemon.socket))
        client.set_policy("gw", "night", text="workload low")
        stack.enter_context(Traffic(ends[:2]))
        ends[2].peer.sendall(encode(Request(9, Unit.SCALE_MIN)))  # refused
        rules = directory / "rules.yml"
        rules.write_text(re.sub(r"for: \w+", "for: 0s", RULES.read_text()))
        prometheus = stack.enter_context(
            running(directory, free_port("127.0.0.1"), target=target, rules=rules)
        )
        cpufreq = directory / "sys" / CPU_DIR / "cpufreq"
        yield Scene(prometheus, daemon, client, ends, cpufreq, meter)


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    try:
        find_program("prometheus")
    except UnavailableError as error:
        pytest.skip(str(error))


def promtool(*words: str) -> None:
    command = [str(find_program("promtool")), *words]
    done = subprocess.run(
        command, cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "rules.yml")


def test_every_alert_fires_after_its_time_and_not_before() -> None:
    promtool("test", "rules", "tests.yml")
    tested = (RULES.parent / "tests.yml").read_text()
    cases = re.findall(r"alertname: (\w+)\n.*\n +exp_alerts:( \[\])?", tested)
    fires = {name for name, is_silent in cases if not is_silent}
    assert fires == set(ALERTS)


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def query_of(expression: str) -> str:
    """Return a query with the values of Grafana's variables."""
    query = re.sub(r"\$(instance|domain)", ".*", expression)
    query = query.replace("$__rate_interval", "30s")
    assert "$" not in query
    return query


def test_every_panel_s_query_answers_and_no_alert_fires_without_a_fault() -> None:
    with scene() as host:
        loaded = host.prometheus.rules()
        names = [it["name"] for it in loaded if it["type"] == "alerting"]
        assert names == ALERTS
        for panel in panels():
            for target in panel["targets"]:
                found = host.answer(query_of(target["expr"]))
                assert all(re.search(r"\d", it["value"][1]) for it in found), panel
        watts = 'rate(vmpower_host_joules_total{zone="package"}[10s])'
        host.answer(f"abs({watts} - {WATTS}) < {WATTS / 10}")
        host.answer('vmpower:domain_watts:rate5m{domain="fw"} > 0')
        host.answer('vmpower:domain_saved_watts:rate5m{domain="fw"} > 0')
        for name in (it["name"] for it in loaded if it["type"] == "recording"):
            host.answer(name)
        wait_for(host.are_rules_evaluated, "every rule was evaluated")
        host.wait_until_firing(*WITHOUT_FAULT)
        assert host.prometheus.firing() - UNSURE == WITHOUT_FAULT


def test_alerts_fire_on_the_faults_that_they_name() -> None:
    with scene() as host:
        host.wait_until_firing("VmpowerVcpusFloating")
        # A thermal limit: the CPU runs below what is granted. (The file is a link.)
        current = host.cpufreq / "policy4" / "scaling_cur_freq"
        current.unlink()
        current.write_text(f"{LOWEST // 2}\n")
        alert = 'alertname="VmpowerFrequencyNotObtained", alertstate="firing"'
        host.answer(f'ALERTS{{{alert}, cpu="4"}}')
        # The energy meter counts no more.
        host.answer("vmpower_energy_modelled == 0")
        host.meter.stop()
        host.wait_until_firing("VmpowerEnergyMeterLost")
        host.wait_until_firing("VmpowerEnergyMeterHoles")
        # Another program changes the governor.
        (host.cpufreq / "policy4" / "scaling_governor").write_text("performance\n")
        host.wait_until_firing("VmpowerClockGroupDrifted")
        # A guest sends garbage.
        with suppress(OSError):  # until the daemon hangs up
            for _ in range(100_000):
                host.ends[3].peer.sendall(GARBAGE)
        host.wait_until_firing("VmpowerChannelQuarantined")
        # An operator disables a channel whose guest continues.
        host.client.switch_channel("fw", 0, enabled=False)
        host.wait_until_firing("VmpowerRequestsRefused")
        # The monitor process dies again and again.
        for _ in range(3):
            host.kill_monitor()
        host.wait_until_firing("VmpowerMonitorRestarting")
        host.daemon.stop()
        host.wait_until_firing("VmpowerDown")
