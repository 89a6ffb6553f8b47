# SPDX-License-Identifier: Apache-2.0
"""`vmpower energy`: tables, and what a calibration measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.commands import energy_calibration
from cli.commands.energy_calibration import (
    CalibrationError,
    find_free,
    measure_static,
    measure_steps,
    one_of_each_core,
)
from cli.output.tables.energy import build_energy, explain_domain
from cli.output.tables.plain import render_plain
from orchestrator.control import CONTROL_SOCKET
from orchestrator.control.client import ControlClient
from tests.cli.golden_files import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Vmpower
    from tests.control.fake_daemon import FakeDaemon

BUSY_DOMAIN = "dpdk-fw"


@pytest.fixture
def client(run_dir: Path) -> Iterator[ControlClient]:
    with ControlClient(run_dir / CONTROL_SOCKET) as client:
        yield client


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_calibration, "_SETTLE_S", 0.0)


@pytest.mark.parametrize("line", ["show", "explain dpdk-fw"])
def test_tables(vmpower: Vmpower, line: str) -> None:
    result = vmpower("energy", *line.split())

    assert result.exit_code == 0, result.output
    check(f"energy_{line.split()[0]}", result.stdout)


def test_what_is_modelled_is_labelled(client: ControlClient) -> None:
    document = client.energy()
    host = document["host"]
    assert host is not None
    host["source"], host["modelled"] = "modelled", True
    host["hole"] = "p0 was not read for 600 s"
    host["static_calibrated"], host["psys_watts"] = False, 200.0

    text = "\n".join(render_plain(build_energy(document)))

    assert "modelled" in text
    assert "published figures of Xeon Scalable, third generation" in text
    assert "the meters cannot be used now: p0 was not read for 600 s" in text
    assert "vmpower energy calibrate --idle" in text
    assert "200.0 W" in text


def test_nothing_is_shown_that_was_not_accounted(client: ControlClient) -> None:
    document = client.energy()
    domain = client.domain("web")
    document["host"] = None

    (line,) = render_plain(build_energy(document))
    assert "try again" in line
    document["enabled"] = False
    explained = explain_domain(document, domain, client.cpus()["cpus"])
    for sheets in (build_energy(document), explained):
        (line,) = render_plain(sheets)
        assert "'[energy] enabled' is false" in line
    assert domain["energy"] is None


def test_something_must_be_measured(vmpower: Vmpower) -> None:
    result = vmpower("energy", "calibrate")

    assert result.exit_code != 0


def test_the_static_power_is_what_was_counted_without_idle_cores(
    client: ControlClient, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy_calibration, "MAX_BUSY", 2.0)
    monkeypatch.setattr(energy_calibration, "_counted", counts(10.0, cores=4))

    (found,) = measure_static(client, 0.2)

    assert daemon.package.static_watts == 41.0  # only the command calibrates
    assert found["package"] == 0
    assert found["watts"] > 0


def counts(joules: float, cores: int) -> object:
    """Return a meter that counts so much from one reading to the next."""
    total = 0.0

    def count(_client: ControlClient) -> dict[int, tuple[float, int]]:
        nonlocal total
        total += joules
        return {0: (total, cores)}

    return count


def test_a_busy_host_is_not_calibrated(
    client: ControlClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uptime = tmp_path / "uptime"
    uptime.write_text("1000.00 500.00\n")  # which does not move: no CPU is idle
    monkeypatch.setattr(energy_calibration, "UPTIME", uptime)

    with pytest.raises(CalibrationError, match="busy for 100 % of the time"):
        measure_static(client, 0.05)


def test_a_host_without_meters_is_not_calibrated(
    client: ControlClient, daemon: FakeDaemon
) -> None:
    daemon.package = daemon.package.model_copy(update={"measured_joules_total": None})

    with pytest.raises(CalibrationError, match="no energy meter"):
        measure_static(client, 0.05)


def test_steps_are_measured_on_free_cpus_which_are_released(
    client: ControlClient, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy_calibration, "_counted", counts(1.0, cores=4))

    curve = measure_steps(client, 0.05)

    assert [it["khz"] for it in curve] == sorted(client.cpu(0)["steps_khz"])
    watts = [it["watts"] for it in curve]
    assert watts == sorted(watts)
    assert all(cpu.override_khz is None for cpu in daemon.cpus.values())


def test_cpus_are_free_if_no_vcpu_may_run_in_their_clock_group(
    client: ControlClient,
) -> None:
    status = client.status()

    assert [cpu["pcpu"] for cpu in find_free(status)] == [0, 1]
    assert one_of_each_core(find_free(status)) == [0]
    status["cpus"] = [cpu for cpu in status["cpus"] if cpu["pcpu"] > 1]
    with pytest.raises(CalibrationError, match="no free CPU"):
        find_free(status)
