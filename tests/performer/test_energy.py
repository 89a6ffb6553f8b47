# SPDX-License-Identifier: Apache-2.0
"""Accounting of energy, from files of the host to joules of domains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from orchestrator.config import Config, EnergyConfig
from orchestrator.config_files import config_from
from orchestrator.energy.attribution import Calibration
from orchestrator.energy.curves import Curve
from orchestrator.energy.residency import Activity, MeterSource
from orchestrator.errors import ConfigError
from orchestrator.performer.energy_runner import EnergyRunner
from orchestrator.power.sysfs import CpuTree
from tests.performer.energy_host import (
    HIGHEST_KHZ,
    LOWEST_KHZ,
    RANGE_UJ,
    EnergyHost,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.energy.residency import EnergyInterval
    from orchestrator.events import Event
    from orchestrator.performer.energy_sampler import EnergySampler
    from orchestrator.values.domain import DomainId

INTERVAL_S = 0.05
"""Of the runner, instead of a second."""


def started(host: EnergyHost) -> EnergySampler:
    sampler = host.sampler()
    sampler.load(host.root / "calibration")
    assert sampler.sample(host.job()) is None
    return sampler


def test_lower_grants_save_energy(tmp_path: Path) -> None:
    host = EnergyHost(tmp_path)
    sampler = started(host)
    host.set_grants(LOWEST_KHZ)
    host.sample(sampler)

    found = host.sample(sampler, watts=50.0)

    interval = found.interval
    assert interval.host.source is MeterSource.POWERCAP
    assert interval.host.measured_joules == pytest.approx(50.0)
    for uuid in host.uuids:
        assert interval.domains[uuid].joules > 0
        assert interval.domains[uuid].saved_joules > 0
    slots = [slot for it in interval.domains.values() for slot in it.residency]
    assert {(s.khz, s.highest_khz) for s in slots if s.activity is Activity.POLL} == {
        (LOWEST_KHZ, HIGHEST_KHZ)
    }
    sampler.close()


def test_without_a_meter_it_is_modelled_by_the_class_of_the_processor(
    tmp_path: Path,
) -> None:
    """Kepler#2280: no meter in a virtual machine is not no energy."""
    host = EnergyHost(tmp_path, has_meter=False)
    sampler = started(host)

    found = host.sample(sampler)

    assert found.interval.host.is_modelled
    assert found.state.profile == "Xeon Scalable, third generation"
    assert found.state.model == "Imitated Xeon"
    sampler.close()


def test_a_wrap_is_no_hole(tmp_path: Path) -> None:
    host = EnergyHost(tmp_path)
    host.energy_uj = RANGE_UJ - 10_000_000
    host.pass_time(0.0)
    sampler = started(host)

    found = host.sample(sampler, watts=60.0)

    assert host.energy_uj < RANGE_UJ / 2
    assert found.interval.host.measured_joules == pytest.approx(60.0)
    assert found.problem == ""
    sampler.close()


def test_what_cannot_be_is_a_problem(tmp_path: Path) -> None:
    host = EnergyHost(tmp_path)
    sampler = started(host)

    found = host.sample(sampler, watts=50_000.0)

    assert found.problem == "intel-rapl:0 counted 50000 W, which is impossible"
    assert found.interval.host.is_modelled
    sampler.close()


def test_a_thermal_clamp_is_not_saved(tmp_path: Path) -> None:
    host = EnergyHost(tmp_path)
    sampler = started(host)
    for number in range(8):
        host.set_measured(number, 2_000_000)
    for _ in range(10):
        host.sample(sampler)

    found = host.sample(sampler)

    assert found.state.packages[0].ceiling_khz == 2_000_000
    assert found.interval.host.saved_joules == 0.0
    sampler.close()


def test_a_calibration_is_kept_for_these_processors(tmp_path: Path) -> None:
    host = EnergyHost(tmp_path)
    file = tmp_path / "state/energy.json"
    measured = Calibration(
        static_w={0: 31.0}, curve=Curve((LOWEST_KHZ, HIGHEST_KHZ), (1.0, 4.0))
    )
    first = started(host)
    first.save(file, measured)
    first.close()

    sampler = host.sampler()
    sampler.load(file)
    sampler.sample(host.job())
    found = host.sample(sampler)

    state = found.state.packages[0]
    assert (state.static_w, state.is_calibrated) == (31.0, True)
    assert found.interval.host.is_static_calibrated
    sampler.close()

    file.write_text(file.read_text().replace("Imitated", "Another"))
    other = host.sampler()
    other.load(file)
    other.sample(host.job())
    assert not host.sample(other).state.packages[0].is_calibrated
    other.close()


def test_a_calibration_that_is_damaged_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = EnergyHost(tmp_path)
    (tmp_path / "damaged").write_text("{")
    sampler = host.sampler()

    sampler.load(tmp_path / "damaged")

    assert "the calibration of energy is not used" in caplog.text
    sampler.sample(host.job())
    assert not host.sample(sampler).state.packages[0].is_calibrated
    sampler.close()


def test_votes_of_a_domain_that_is_observed_show_what_they_would_save(
    tmp_path: Path,
) -> None:
    host = EnergyHost(tmp_path, config=config_from({"mode": "observe"}))
    host.grants.clear()
    for uuid in host.uuids:
        host.votes.update({(uuid, vcpu): LOWEST_KHZ for vcpu in range(4)})
    sampler = started(host)

    found = host.sample(sampler)

    total = found.interval.host
    assert total.saved_joules == 0.0
    assert total.possible_joules > 0.0
    sampler.close()


class Runner:
    """A runner whose samples are taken at the real time, and what it reported."""

    def __init__(self, host: EnergyHost) -> None:
        self.reported: list[Event] = []
        self.runner = EnergyRunner(
            inventory=host.host.inventory,
            monitor=host,
            tree=CpuTree(host.root / "sys"),
            find_qemu=host.find_qemu,
            react=self.reported.append,
            proc=host.root / "proc",
        )
        self.runner.interval_s = INTERVAL_S
        self.durations: list[float] = []
        self.runner.listeners.append(self._note)

    def _note(self, interval: EnergyInterval) -> None:
        self.durations.append(interval.duration_s)

    async def wait_for(self, intervals: int) -> None:
        await wait_until(lambda: len(self.runner.ledger.intervals()) >= intervals)


async def wait_until(is_over: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_over():
            await asyncio.sleep(0.01)


def test_it_runs_while_it_is_enabled(tmp_path: Path) -> None:
    async def run() -> None:
        host = EnergyHost(
            tmp_path, config=Config(energy=EnergyConfig(price_per_kwh=0.3))
        )
        it = Runner(host)
        seen: list[float] = []
        it.runner.listeners.append(lambda interval: seen.append(interval.duration_s))

        it.runner.update()
        it.runner.update()
        await it.wait_for(3)

        assert len(seen) >= 3
        assert it.runner.ledger.domains.keys() == set(host.uuids)
        assert it.runner.state is not None
        assert it.runner.prices.money(3_600_000.0) == pytest.approx(0.3)
        # The counters do not move here, which is reported once.
        assert len(it.reported) == 1
        host.host.inventory.config = Config(energy=EnergyConfig(enabled=False))
        it.runner.update()
        count = len(it.runner.ledger.intervals())
        await asyncio.sleep(0)
        assert len(it.runner.ledger.intervals()) == count

    asyncio.run(run())


def test_a_domain_that_ends_and_starts_is_accounted_while_it_runs(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        host = EnergyHost(tmp_path)
        it = Runner(host)
        accounted: list[set[DomainId]] = []
        it.runner.listeners.append(lambda it: accounted.append(set(it.domains)))

        async def wait_for_domains(uuids: set[DomainId]) -> None:
            accounted.clear()
            await wait_until(lambda: accounted[-1:] == [uuids])

        it.runner.update()
        one, other = host.uuids
        await wait_for_domains({one, other})
        ended = host.host.inventory.domains.pop(one)
        await wait_for_domains({other})
        host.host.inventory.domains[one] = ended
        await wait_for_domains({one, other})
        it.runner.stop()

    asyncio.run(run())


async def check_samples_are_rare(it: Runner) -> None:
    loop = asyncio.get_running_loop()
    await it.wait_for(2)
    began_s, before = loop.time(), len(it.durations)
    async with asyncio.timeout(60):
        while len(it.durations) < before + 6:
            await asyncio.sleep(0.002)
    sampled = len(it.durations) - before
    assert sampled <= (loop.time() - began_s) / (5 * INTERVAL_S) + 2


async def wait_for_frequent_samples(it: Runner, change: Callable[[], None]) -> None:
    """Wait for some in a row; a busy machine may delay each of them."""
    before = len(it.durations)
    async with asyncio.timeout(60):
        while len(seen := it.durations[before:][-3:]) < 3 or max(seen) > 4 * INTERVAL_S:
            change()
            await asyncio.sleep(0.002)


def test_samples_are_rare_while_nothing_changes(tmp_path: Path) -> None:
    async def run() -> None:
        host = EnergyHost(tmp_path)
        it = Runner(host)

        def change() -> None:
            host.writes += 1

        it.runner.update()

        await check_samples_are_rare(it)
        await wait_for_frequent_samples(it, change)
        await check_samples_are_rare(it)
        await wait_for_frequent_samples(it, it.runner.note_reader)
        it.runner.stop()

    asyncio.run(run())


def test_a_client_that_reads_all_the_time_delays_no_sample(tmp_path: Path) -> None:
    async def run() -> None:
        it = Runner(EnergyHost(tmp_path))
        it.runner.update()
        async with asyncio.timeout(60):
            while len(it.durations) < 3:
                it.runner.note_reader()
                await asyncio.sleep(0)
        it.runner.stop()

    asyncio.run(run())


def check_each_interval_is_sampled(host: EnergyHost) -> None:
    async def run() -> None:
        it = Runner(host)
        it.runner.update()
        await it.wait_for(2)
        await wait_for_frequent_samples(it, lambda: None)
        it.runner.stop()

    asyncio.run(run())


def test_a_host_that_is_observed_is_sampled_at_each_interval(tmp_path: Path) -> None:
    host = EnergyHost(tmp_path)
    host.votes[host.uuids[0], 0] = LOWEST_KHZ
    check_each_interval_is_sampled(host)


def test_meters_that_wrap_soon_are_read_in_time(tmp_path: Path) -> None:
    host = EnergyHost(tmp_path, has_meter=False)
    # Half of it is 20 ms of what no processor draws.
    host.lay_out_zone("intel-rapl:0", "package-0", range_uj=80_000_000)
    check_each_interval_is_sampled(host)


def test_it_does_nothing_if_it_is_disabled(tmp_path: Path) -> None:
    async def run() -> None:
        host = EnergyHost(tmp_path, config=Config(energy=EnergyConfig(enabled=False)))
        it = Runner(host)

        it.runner.update()

        assert not it.runner.is_running
        it.runner.stop()

    asyncio.run(run())


def test_a_new_calibration_is_used_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        file = tmp_path / "state/energy.json"
        config = Config(energy=EnergyConfig(calibration_file=file))
        host = EnergyHost(tmp_path, config=config)
        it = Runner(host)
        it.runner.update()
        await it.wait_for(1)

        await it.runner.calibrate(Calibration(static_w={0: 17.0}))

        await wait_until(
            lambda: (
                it.runner.state is not None
                and it.runner.state.packages[0].static_w == 17.0
            )
        )
        assert file.is_file()
        it.runner.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"price_per_kwh": -1.0}, "energy.price_per_kwh: invalid number -1.0"),
        ({"co2_g_per_kwh": float("nan")}, "energy.co2_g_per_kwh: invalid number nan"),
        ({"currency": "x" * 9}, "energy.currency: invalid currency"),
    ],
)
def test_prices_are_checked(table: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config_from({"energy": table})
