# SPDX-License-Identifier: Apache-2.0
"""Readings of meters: wraps, holes, kinds, and what other programs got wrong.

Each test of a known defect names where it was reported.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.energy.meters import (
    MeterInterval,
    MeterReading,
    Meters,
    Zone,
    ZoneKind,
    parse_zone_name,
)

RANGE = 262_143.0
PACKAGE_0 = Zone(name="p0", kind=ZoneKind.PACKAGE, package=0, range_joules=RANGE)
PACKAGE_1 = Zone(name="p1", kind=ZoneKind.PACKAGE, package=1, range_joules=RANGE)
CORE_0 = Zone(name="c0", kind=ZoneKind.CORE, package=0, range_joules=RANGE)
DRAM_0 = Zone(name="d0", kind=ZoneKind.DRAM, package=0, range_joules=65_712.0)
DRAM_1 = Zone(name="d1", kind=ZoneKind.DRAM, package=1, range_joules=65_712.0)
PSYS = Zone(name="psys", kind=ZoneKind.PSYS, range_joules=RANGE)


def between(
    zones: list[Zone],
    old: dict[str, float],
    new: dict[str, float],
    duration_s: float = 1.0,
) -> MeterInterval:
    meters = Meters(zones)
    assert meters.advance(MeterReading(100.0, old)) is None
    found = meters.advance(MeterReading(100.0 + duration_s, new))
    assert found is not None
    return found


def test_joules_are_differences() -> None:
    found = between([PACKAGE_0], {"p0": 1_000.0}, {"p0": 1_090.0})

    assert found.packages == {0: 90.0}
    assert not found.hole


def test_a_counter_that_wrapped_goes_on_at_zero() -> None:
    """hubblo-org/scaphandre#280, mlco2/codecarbon#322."""
    found = between([PACKAGE_0], {"p0": RANGE - 40.0}, {"p0": 50.0})

    assert found.packages == {0: 90.0}


def test_a_zone_wraps_at_its_own_range() -> None:
    """joular/powerjoular#87 added another domain's range; HPCPerfStats#9: DRAM's."""
    found = between(
        [PACKAGE_0, DRAM_0],
        {"p0": 1_000.0, "d0": 65_710.0},
        {"p0": 1_090.0, "d0": 4.0},
    )

    assert found.packages == {0: 90.0}
    assert found.dram_joules == pytest.approx(6.0)


def test_a_gap_in_which_it_may_have_wrapped_twice_is_a_hole() -> None:
    """ml-energy/zeus#91."""
    found = between([PACKAGE_0], {"p0": 10.0}, {"p0": 100.0}, duration_s=600.0)

    assert found.packages == {}
    assert found.hole == "p0 was not read for 600 s, in which it may have wrapped"


@pytest.mark.parametrize(("gap_s", "packages"), [(400.0, {0: 20_000.0}), (500.0, {})])
def test_a_gap_is_judged_by_the_power_that_the_zone_may_draw(
    gap_s: float, packages: dict[int, float]
) -> None:
    known = replace(PACKAGE_0, most_w=300.0)

    found = between([known], {"p0": 0.0}, {"p0": 20_000.0}, duration_s=gap_s)

    assert found.packages == packages


@pytest.mark.parametrize("joules", [300_000.0 / 2, 160_000.0, 4_294_967_295.0])
def test_what_no_processor_draws_is_a_hole(joules: float) -> None:
    """Sustainable-computing-io/kepler#1851, #1774, #1049."""
    wide = Zone(name="p0", kind=ZoneKind.PACKAGE, package=0, range_joules=1e12)

    found = between([wide], {"p0": 0.0}, {"p0": joules})

    assert found.packages == {}
    assert "impossible" in found.hole


def test_memory_is_not_part_of_a_package() -> None:
    """Sustainable-computing-io/kepler PR#156, ml-energy/zeus PR#92, powercap#3."""
    found = between(
        [PACKAGE_0, DRAM_0], {"p0": 0.0, "d0": 0.0}, {"p0": 90.0, "d0": 9.0}
    )

    assert found.packages == {0: 90.0}
    assert found.dram_joules == 9.0


def test_cores_and_the_platform_are_not_added_to_packages() -> None:
    """winsiderss/systeminformer#2001: twice the power."""
    found = between(
        [PACKAGE_0, CORE_0, DRAM_0, PSYS],
        dict.fromkeys(("p0", "c0", "d0", "psys"), 0.0),
        {"p0": 90.0, "c0": 60.0, "d0": 9.0, "psys": 140.0},
    )

    assert found.packages == {0: 90.0}
    assert found.psys_joules == 140.0
    assert not found.doubts


def test_cores_that_draw_more_than_their_package_are_doubted() -> None:
    """sustainable-computing-io/kepler#2149."""
    found = between(
        [PACKAGE_0, CORE_0], {"p0": 0.0, "c0": 0.0}, {"p0": 50.0, "c0": 60.0}
    )

    assert found.doubts == ("the cores of package 0 draw more than the package",)


def test_a_platform_that_draws_less_than_its_packages_is_not_used() -> None:
    found = between(
        [PACKAGE_0, PSYS], {"p0": 0.0, "psys": 0.0}, {"p0": 50.0, "psys": 10.0}
    )

    assert found.psys_joules is None
    assert found.doubts == ("psys counts less than its packages",)


def test_memories_in_different_units_are_not_used() -> None:
    """icl-utk-edu/papi PR#635: 200 W on one package, 6 W on the other."""
    found = between(
        [PACKAGE_0, DRAM_0, DRAM_1],
        {"p0": 0.0, "d0": 0.0, "d1": 0.0},
        {"p0": 90.0, "d0": 200.0, "d1": 6.0},
    )

    assert found.dram_joules is None
    assert found.doubts == ("the memories' meters count in different units",)


def test_a_meter_that_counts_nothing_is_a_hole() -> None:
    """Kepler#2280: meters in virtual machines are there and stay at zero."""
    found = between([PACKAGE_0], {"p0": 0.0}, {"p0": 0.0})

    assert found.hole == "no meter counts anything"


def test_a_package_that_cannot_be_read_is_a_hole() -> None:
    found = between([PACKAGE_0, PACKAGE_1], {"p0": 0.0, "p1": 0.0}, {"p0": 50.0})

    assert found.hole == "p1 cannot be read"
    assert found.packages == {}


def test_another_zone_that_cannot_be_read_is_none() -> None:
    found = between([PACKAGE_0, DRAM_0], {"p0": 0.0, "d0": 0.0}, {"p0": 50.0})

    assert (found.packages, found.dram_joules) == ({0: 50.0}, None)


def test_an_impossible_zone_beside_packages_is_left_out() -> None:
    wide = Zone(name="psys", kind=ZoneKind.PSYS, range_joules=1e9)

    found = between([PACKAGE_0, wide], {"p0": 0, "psys": 0}, {"p0": 50.0, "psys": 1e6})

    assert (found.psys_joules, found.hole) == (None, "")


def test_dies_of_a_package_add_up() -> None:
    dies = [
        Zone(name=f"die{n}", kind=ZoneKind.PACKAGE, package=0, range_joules=RANGE)
        for n in range(2)
    ]

    found = between(dies, {"die0": 0, "die1": 0}, {"die0": 30.0, "die1": 40.0})

    assert found.packages == {0: 70.0}
    assert Meters(dies).packages == {0}


def test_meters_of_single_cores_are_kept_apart() -> None:
    cores = [
        Zone(name=f"core{n}", kind=ZoneKind.CORE, core=n, range_joules=RANGE)
        for n in (0, 2)
    ]

    found = between(
        [PACKAGE_0, *cores],
        {"p0": 0, "core0": 0, "core2": 0},
        {"p0": 50.0, "core0": 4.0, "core2": 1.0},
    )

    assert found.cores == {0: 4.0, 2: 1.0}


def test_single_cores_that_draw_more_than_their_packages_are_not_used() -> None:
    core = Zone(name="core0", kind=ZoneKind.CORE, core=0, range_joules=RANGE)

    found = between([PACKAGE_0, core], {"p0": 0, "core0": 0}, {"p0": 5.0, "core0": 9.0})

    assert found.cores == {}
    assert found.doubts == ("the cores draw more than their packages",)


def test_a_reading_at_the_same_time_changes_nothing() -> None:
    meters = Meters([PACKAGE_0])
    meters.advance(MeterReading(1.0, {"p0": 0.0}))

    assert meters.advance(MeterReading(1.0, {"p0": 5.0})) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("package-1", (ZoneKind.PACKAGE, 1)),
        ("package-0-die-1", (ZoneKind.PACKAGE, 0)),
        ("core", (ZoneKind.CORE, None)),
        ("uncore", (ZoneKind.UNCORE, None)),
        ("dram", (ZoneKind.DRAM, None)),
        ("psys", (ZoneKind.PSYS, None)),
        ("package", None),
        ("battery", None),
    ],
)
def test_a_zone_is_known_by_its_name(
    name: str, expected: tuple[ZoneKind, int | None] | None
) -> None:
    assert parse_zone_name(name) == expected
