# SPDX-License-Identifier: Apache-2.0
"""What guests may query of the accounting: since each start of their domain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import EnergyFigures, FigureSource
from orchestrator.config import Config, DomainRule
from orchestrator.performer.guest_energy import GuestEnergy
from orchestrator.values.domain import DomainId
from tests.performer.energy_host import LOWEST_KHZ, EnergyHost

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.energy.residency import EnergyInterval
    from orchestrator.performer.energy_sampler import EnergySampler


class Table:
    """Keeps what was written last, as the shared table does."""

    def __init__(self) -> None:
        self.figures: dict[DomainId, EnergyFigures] = {}

    def write_energy(self, uuid: DomainId, figures: EnergyFigures) -> None:
        self.figures[uuid] = figures


def started(host: EnergyHost) -> EnergySampler:
    sampler = host.sampler()
    sampler.load(host.root / "calibration")
    assert sampler.sample(host.job()) is None
    return sampler


def intervals(host: EnergyHost, sampler: EnergySampler, n: int) -> list[EnergyInterval]:
    return [host.sample(sampler, watts=50.0 + it).interval for it in range(n)]


def test_sums_are_of_all_intervals_and_power_of_the_last_ten(tmp_path: Path) -> None:
    host, table = EnergyHost(tmp_path), Table()
    host.set_grants(LOWEST_KHZ)
    energy = GuestEnergy(host.host.inventory, table)
    sampler = started(host)
    found = intervals(host, sampler, 15)
    for interval in found:
        energy.publish(interval)
    for uuid in host.uuids:
        figures = table.figures[uuid]
        parts = [interval.domains[uuid] for interval in found]
        drawn = sum(part.joules for part in parts)
        recent = sum(part.joules for part in parts[-10:])
        saved = sum(part.saved_joules for part in parts)
        assert figures.drawn_uj == pytest.approx(drawn * 1e6, abs=1)
        assert figures.power_uw == pytest.approx(recent / 10 * 1e6, abs=1)
        assert figures.saved_uj == pytest.approx(saved * 1e6, abs=1) != 0
        assert figures.drawn_error_uj > figures.power_error_uw > 0
        assert figures.saved_error_uj > figures.saved_error_uw > 0
        assert figures.duration_ms == 15_000
        assert figures.source == FigureSource.MEASURED
    sampler.close()


def test_power_is_of_the_last_ten_seconds_where_samples_are_rare(
    tmp_path: Path,
) -> None:
    host, table = EnergyHost(tmp_path), Table()
    energy = GuestEnergy(host.host.inventory, table)
    sampler = started(host)
    found = intervals(host, sampler, 6)
    for interval in found:
        energy.publish(replace(interval, duration_s=5.0))
    for uuid in host.uuids:
        recent = sum(interval.domains[uuid].joules for interval in found[-2:])
        assert table.figures[uuid].power_uw == pytest.approx(recent / 10 * 1e6, abs=1)
    sampler.close()


def test_without_a_meter_they_are_modelled(tmp_path: Path) -> None:
    host, table = EnergyHost(tmp_path, has_meter=False), Table()
    energy = GuestEnergy(host.host.inventory, table)
    sampler = started(host)
    (interval,) = intervals(host, sampler, 1)
    energy.publish(interval)
    sources = {figures.source for figures in table.figures.values()}
    assert sources == {FigureSource.MODELLED}
    sampler.close()


def test_a_domain_that_was_started_again_begins_at_zero(tmp_path: Path) -> None:
    """Also if it was off between two samples, and if it was off for longer."""
    host, table = EnergyHost(tmp_path), Table()
    energy = GuestEnergy(host.host.inventory, table)
    sampler = started(host)
    again, off, other = *host.uuids, DomainId("other")
    for interval in intervals(host, sampler, 3):
        energy.publish(interval)
    record = host.host.inventory.domains[again]
    record.spec = replace(record.spec, run=record.spec.run + 1)
    (fourth, fifth) = intervals(host, sampler, 2)
    gone = {uuid: it for uuid, it in fourth.domains.items() if uuid != off}
    energy.publish(replace(fourth, domains={**gone, other: fourth.domains[off]}))
    energy.publish(fifth)
    assert table.figures[again].duration_ms == 2_000
    assert table.figures[off].duration_ms == 1_000
    assert table.figures.keys() == {again, off}
    sampler.close()


def test_without_permission_nothing_is_written(tmp_path: Path) -> None:
    rule = DomainRule(match="vm-0", energy_queries=False)
    host, table = EnergyHost(tmp_path, config=Config(domain=(rule,))), Table()
    energy = GuestEnergy(host.host.inventory, table)
    sampler = started(host)
    (interval,) = intervals(host, sampler, 1)
    energy.publish(interval)
    assert list(table.figures) == [host.uuids[1]]
    sampler.close()
