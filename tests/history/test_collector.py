# SPDX-License-Identifier: Apache-2.0
"""Counters that grow, begin again and vanish; holds and energy of a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.energy.residency import EnergyInterval
from orchestrator.history.collector import (
    LONGEST_SAMPLE_S,
    ChannelCounts,
    Collector,
    DomainCounts,
)
from orchestrator.history.holds import Hold, HoldCause
from orchestrator.history.minute import EventRow, HoldTime, Requests
from tests.history.minutes import FIREWALL, domain_minute, host_energy

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainId


def counts(*totals: int, floating: int = 0) -> dict[DomainId, DomainCounts]:
    channels = {
        number: ChannelCounts(Requests(total=total), {"floating": floating})
        for number, total in enumerate(totals)
    }
    return {FIREWALL: DomainCounts("fw", channels)}


def collector() -> Collector:
    return Collector(1000.0, 0.0, watts=lambda khz: khz / 1e6)


def test_requests_are_the_growth_of_all_channels() -> None:
    minutes = collector()
    first = minutes.finish(counts(5, 2, floating=1), 1060.0, 60.0)
    second = minutes.finish(counts(15, 3, floating=4), 1120.0, 120.0)
    # What a daemon finds when it starts has happened in its first minute.
    assert first.domains[0].requests.total == 7
    assert second.domains[0].requests.total == 11
    assert second.domains[0].refusals == {"floating": 6}
    assert (second.start_s, second.duration_s) == (1060.0, 60.0)


def test_a_counter_that_went_back_counts_whole() -> None:
    minutes = collector()
    minutes.finish(counts(50, floating=9), 1060.0, 60.0)
    after = minutes.finish(counts(4, floating=2), 1120.0, 120.0)
    assert after.domains[0].requests.total == 4
    assert after.domains[0].refusals == {"floating": 2}


def test_a_domain_that_ended_is_in_the_minute_of_its_end_and_no_later() -> None:
    minutes = collector()
    minutes.finish(counts(5), 1060.0, 60.0)
    minutes.add_holds({FIREWALL: [Hold(HoldCause.NO_VOTE, 3_000_000, 0)]}, 70.0)
    last = minutes.finish({}, 1120.0, 120.0)
    assert [(it.name, it.requests.total) for it in last.domains] == [("fw", 0)]
    assert minutes.finish({}, 1180.0, 180.0).domains == ()


def test_a_hold_counts_from_the_sample_before_and_costs_what_it_adds() -> None:
    minutes = collector()
    held = Hold(HoldCause.LOWER_LIMIT, 2_000_000, 1_200_000)
    slowed = Hold(HoldCause.UPPER_LIMIT, 2_000_000, 3_000_000)
    minutes.add_holds({FIREWALL: [held, held, slowed]}, 10.0)
    minutes.add_holds({FIREWALL: [held]}, 20.0)
    (domain,) = minutes.finish(counts(1), 1060.0, 60.0).domains
    lower = domain.holds[HoldCause.LOWER_LIMIT]
    assert lower.core_s == 30.0
    assert round(lower.joules, 6) == 24.0
    assert domain.holds[HoldCause.UPPER_LIMIT] == HoldTime(10.0, 0.0)


def test_a_time_in_which_the_host_slept_is_not_held() -> None:
    minutes = collector()
    held = Hold(HoldCause.NEIGHBOR, 2_000_000, 1_000_000)
    minutes.add_holds({FIREWALL: [held]}, 10_000.0)
    (domain,) = minutes.finish(counts(1), 11_000.0, 10_000.0).domains
    assert domain.holds[HoldCause.NEIGHBOR].core_s == LONGEST_SAMPLE_S


def test_energy_of_a_minute_is_the_sum_of_its_intervals() -> None:
    minutes = collector()
    part = domain_minute().energy
    assert part is not None
    for start in range(3):
        minutes.add_energy(
            EnergyInterval(
                start=start,
                duration_s=1.0,
                domains={FIREWALL: part},
                host=host_energy(),
            )
        )
    minutes.add_event(EventRow(1, 1001.0, "policy", "fw", "set"))
    done = minutes.finish(counts(1), 1060.0, 60.0)
    assert done.host is not None
    assert done.host.measured_joules == 18_000
    assert done.domains[0].energy is not None
    assert done.domains[0].energy.saved_joules == 900
    assert len(done.events) == 1
    empty = minutes.finish(counts(1), 1120.0, 120.0)
    assert (empty.host, empty.events, empty.domains[0].energy) == (None, (), None)


def test_a_hold_of_vcpus_that_sleep_costs_nothing_for_that_time() -> None:
    minutes = collector()
    held = Hold(HoldCause.NO_VOTE, 3_000_000, 1_000_000)
    minutes.add_holds({FIREWALL: [held] * 4}, 60.0)
    part = domain_minute().energy
    assert part is not None
    interval = EnergyInterval(
        start=0.0, duration_s=60.0, domains={FIREWALL: part}, host=host_energy()
    )
    minutes.add_energy(interval)
    running = {FIREWALL: DomainCounts("fw", {}, vcpus=4)}
    (domain,) = minutes.finish(running, 1060.0, 60.0).domains
    # Its vCPUs ran for 120 of 240 seconds.
    assert domain.holds[HoldCause.NO_VOTE].core_s == 240.0
    assert domain.holds[HoldCause.NO_VOTE].joules == 0.5 * 4 * 60 * 2.0
