# SPDX-License-Identifier: Apache-2.0
"""Attribution on synthetic hosts whose true power is known; see `hosts`."""

from __future__ import annotations

import pytest

from orchestrator.energy.attribution import (
    Attribution,
    Calibration,
    Observation,
    Package,
)
from orchestrator.energy.curves import Curve
from orchestrator.energy.meters import MeterInterval
from orchestrator.energy.profiles import GENERIC, PROFILE_ERROR
from orchestrator.energy.residency import (
    Activity,
    DomainEnergy,
    EnergyInterval,
    MeterSource,
    Slot,
)
from orchestrator.values.domain import DomainId
from tests.energy.comparison import (
    cycles,
    errors_of,
    kepler,
    run_of,
    saved_error,
    scaphandre,
    vmpower,
)
from tests.energy.hosts import HIGHEST, HOSTS, STEPS, WRONG_STATIC, Host, core_w

FW, WEB = DomainId("fw"), DomainId("web")
LOW = STEPS[0]
PACKAGE = Package(number=0, cores=8, groups=frozenset(range(8)), steps_khz=STEPS)
POLL_LOW = Slot(Activity.POLL, 0, LOW, LOW, HIGHEST)
POLL_HIGH = Slot(Activity.POLL, 1, HIGHEST, HIGHEST, HIGHEST)
FLOATING = Slot(Activity.OTHER, None, LOW, LOW, LOW)

hosts = pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)


def observe(
    residency: dict[DomainId, dict[Slot, float]],
    packages: dict[int, float] | None = None,
    *,
    hole: str = "",
    by_core: dict[DomainId, float] | None = None,
) -> Observation:
    meters = None
    if packages is not None:
        meters = MeterInterval(duration_s=1.0, packages=packages, hole=hole)
    return Observation(
        start=100.0,
        duration_s=1.0,
        residency=residency,
        host_khz=LOW,
        meters=meters,
        source=MeterSource.MODELLED if meters is None else MeterSource.POWERCAP,
        by_core=by_core or {},
    )


def parts_of(interval: EnergyInterval) -> float:
    host = interval.host
    domains = sum(it.joules for it in interval.domains.values())
    return domains + host.static_joules + host.idle_joules + host.host_joules


@hosts
def test_shares_are_right_within_5_percent(host: Host) -> None:
    errors = errors_of(run_of(host), vmpower)

    assert {it: error for it, error in errors.items() if abs(error) > 0.05} == {}


@hosts
def test_saved_is_right_within_2_percent(host: Host) -> None:
    assert abs(saved_error(run_of(host))) < 0.02


@pytest.mark.parametrize("host", WRONG_STATIC, ids=lambda host: host.name)
def test_a_wrong_static_power_hardly_changes_what_was_saved(host: Host) -> None:
    assert abs(saved_error(run_of(host))) < 0.02


@pytest.mark.parametrize("host", [*HOSTS, *WRONG_STATIC], ids=lambda host: host.name)
def test_the_parts_are_what_was_measured(host: Host) -> None:
    """Kepler#1836: the sum of all was another number than the node's."""
    run = run_of(host)

    assert run.result.host.hole == ""
    assert parts_of(run.result) == pytest.approx(run.truth.measured, rel=1e-3)
    for part in run.parts[::50]:
        assert parts_of(part) == pytest.approx(part.host.measured_joules, rel=1e-9)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_the_error_bars_contain_the_truth(host: Host) -> None:
    run = run_of(host)
    off = {
        uuid: (it.joules, it.error_joules)
        for uuid, it in run.result.domains.items()
        if abs(it.joules - run.truth.drawn[uuid]) > 2 * it.error_joules
    }
    result = run.result.host

    assert off == {}
    assert abs(result.saved_joules - sum(run.truth.saved.values())) <= (
        2 * result.saved_error_joules
    )
    assert result.saved_error_joules < 0.2 * result.saved_joules


@pytest.mark.parametrize("host", HOSTS[1:3], ids=lambda host: host.name)
def test_it_is_better_than_the_published_formulas(host: Host) -> None:
    run = run_of(host)
    ours = max(map(abs, errors_of(run, vmpower).values()))

    for other in (scaphandre, kepler, cycles):
        assert ours < max(map(abs, errors_of(run, other).values()))


def test_saving_energy_never_makes_a_host_look_hungrier() -> None:
    """Kepler#1194: the cluster that saved showed 47.6 W, the other one 12.3 W."""
    quick, slow = (
        Attribution({0: PACKAGE}, GENERIC, Calibration(static_w={0: 10.0}))
        for _ in range(2)
    )

    high = quick.attribute(observe({FW: {POLL_HIGH: 4.0}}, {0: 30.0}))
    low = slow.attribute(observe({FW: {POLL_LOW: 4.0}}, {0: 15.0}))

    assert low.domains[FW].joules < high.domains[FW].joules
    assert low.host.measured_joules == 15.0
    assert high.domains[FW].saved_joules == 0.0
    assert low.domains[FW].saved_joules > 0.0


def test_no_domain_draws_more_than_the_host() -> None:
    """Kepler#1836: a VM drew more than its node."""
    attribution = Attribution({0: PACKAGE}, GENERIC)

    found = attribution.attribute(observe({FW: {POLL_HIGH: 8.0}}, {0: 3.0}))

    assert found.domains[FW].joules <= 3.0
    assert parts_of(found) == pytest.approx(3.0)


def test_the_first_interval_of_a_domain_is_as_plausible_as_the_others() -> None:
    """Kepler#1851: 300 kW when a VM boots."""
    attribution = Attribution({0: PACKAGE}, GENERIC)
    attribution.attribute(observe({}, {0: 40.0}))

    found = attribution.attribute(observe({FW: {POLL_HIGH: 1.0}}, {0: 45.0}))

    assert 0 < found.domains[FW].joules < 10.0


def test_a_host_without_a_meter_is_modelled() -> None:
    attribution = Attribution({0: PACKAGE}, GENERIC)

    found = attribution.attribute(observe({FW: {POLL_LOW: 4.0}}))

    assert found.host.is_modelled
    assert found.host.source is MeterSource.MODELLED
    assert found.host.measured_joules == pytest.approx(parts_of(found))
    assert found.domains[FW].saved_joules > 0
    assert found.domains[FW].error_joules > PROFILE_ERROR * found.domains[FW].joules


def test_a_hole_is_modelled_and_says_why() -> None:
    attribution = Attribution({0: PACKAGE}, GENERIC)

    found = attribution.attribute(observe({FW: {POLL_LOW: 4.0}}, {}, hole="gap"))

    assert (found.host.hole, found.host.is_modelled) == ("gap", True)
    assert found.domains[FW].joules > 0


def test_nothing_is_learnt_from_an_interval_that_is_not_exact() -> None:
    attribution = Attribution({0: PACKAGE}, GENERIC)
    seen = observe({FW: {POLL_LOW: 4.0}}, {0: 40.0})

    attribution.attribute(
        Observation(
            start=seen.start,
            duration_s=1.0,
            residency=seen.residency,
            host_khz=LOW,
            meters=seen.meters,
            is_exact=False,
        )
    )

    assert attribution.models[0].fit.observations == 0


def test_the_meters_of_single_cores_replace_the_curves() -> None:
    """AMD has them (CoreFreq#57)."""
    attribution = Attribution({0: PACKAGE}, GENERIC, Calibration(static_w={0: 10.0}))
    residency = {FW: {POLL_LOW: 1.0}, WEB: {POLL_LOW: 1.0}}

    found = attribution.attribute(
        observe(residency, {0: 20.0}, by_core={FW: 6.0, WEB: 3.0})
    )

    ratio = found.domains[FW].joules / found.domains[WEB].joules
    assert ratio == pytest.approx(2.0)
    assert parts_of(found) == pytest.approx(20.0)


def test_threads_that_float_count_beside_the_meters_of_cores() -> None:
    attribution = Attribution({0: PACKAGE}, GENERIC)
    residency = {FW: {POLL_LOW: 1.0, FLOATING: 0.5}}

    found = attribution.attribute(
        observe(residency, {0: 40.0}, by_core={FW: 2.0, WEB: 1.0})
    )

    assert found.domains.keys() == {FW}
    assert parts_of(found) == pytest.approx(40.0)


def test_threads_that_float_count_in_all_packages() -> None:
    second = Package(number=1, cores=8, groups=frozenset({20}), steps_khz=STEPS)
    attribution = Attribution({0: PACKAGE, 1: second}, GENERIC)

    found = attribution.attribute(
        observe({FW: {FLOATING: 2.0}, WEB: {}}, {0: 60.0, 1: 60.0})
    )

    assert found.domains[FW].joules > 0
    assert found.domains[WEB] == DomainEnergy(residency={})


def test_what_all_votes_would_save_is_apart_from_what_is_saved() -> None:
    attribution = Attribution({0: PACKAGE}, GENERIC)
    observed = Slot(Activity.POLL, 0, HIGHEST, LOW, HIGHEST)

    found = attribution.attribute(observe({FW: {observed: 1.0}}))
    granted = attribution.attribute(observe({FW: {POLL_LOW: 1.0}}))

    assert found.domains[FW].saved_joules == 0.0
    assert found.domains[FW].possible_joules == pytest.approx(
        granted.domains[FW].saved_joules
    )


def test_a_vcpu_that_sleeps_saves_less_because_it_needs_longer() -> None:
    attribution = Attribution({0: PACKAGE}, GENERIC)
    sleeps = Slot(Activity.OTHER, 0, LOW, LOW, HIGHEST)

    polls = attribution.attribute(observe({FW: {POLL_LOW: 1.0}})).domains[FW]
    works = attribution.attribute(observe({FW: {sleeps: 1.0}})).domains[FW]

    assert works.saved_joules < polls.saved_joules / 2


def test_an_unknown_frequency_saves_nothing() -> None:
    attribution = Attribution({0: PACKAGE}, GENERIC)
    unknown = Slot(Activity.POLL, 0, 0, 0, HIGHEST)

    found = attribution.attribute(observe({FW: {unknown: 1.0}}))

    assert found.domains[FW].saved_joules == 0.0


def test_a_calibrated_curve_is_what_learning_begins_with() -> None:
    curve = Curve(STEPS, tuple(map(core_w, STEPS)))
    calibration = Calibration(static_w={}, curve=curve)
    attribution = Attribution({0: PACKAGE}, GENERIC, calibration)

    found = attribution.attribute(observe({FW: {POLL_HIGH: 2.0}}))

    assert found.domains[FW].joules == pytest.approx(2 * core_w(HIGHEST))
    assert not found.host.is_static_calibrated


def test_a_package_that_draws_less_than_its_static_power_has_no_other() -> None:
    small = Package(number=0, cores=1, groups=frozenset({0}), steps_khz=STEPS)
    attribution = Attribution({0: small}, GENERIC, Calibration(static_w={0: 9.0}))
    seen = observe({FW: {POLL_LOW: 1.0}}, {0: 3.0})
    for _ in range(50):
        attribution.attribute(seen)

    found = attribution.attribute(seen)

    assert found.host.static_joules == found.host.measured_joules == 3.0
    assert found.domains[FW].joules == 0.0
