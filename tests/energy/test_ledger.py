# SPDX-License-Identifier: Apache-2.0
"""Sums since the start, the latest intervals, prices, calibrations."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator.energy.attribution import Calibration
from orchestrator.energy.calibration import (
    check_calibration,
    read_calibration,
    write_calibration,
)
from orchestrator.energy.curves import Curve
from orchestrator.energy.ledger import SHOWN_S, Ledger, Prices
from orchestrator.errors import ConfigError
from orchestrator.values.domain import DomainId
from orchestrator.values.units import kwh
from tests.energy.test_residency import FW, interval


def test_the_sums_and_the_latest_intervals() -> None:
    ledger = Ledger()
    assert ledger.recent() is None

    for number in range(70):
        ledger.add(interval(float(number), 2.0, hole="gap" if number == 3 else ""))

    assert ledger.domains[FW].joules == ledger.host.joules == 140.0
    assert (ledger.measured_joules, ledger.duration_s) == (70 * 52.0, 70.0)
    assert (ledger.static_joules, ledger.idle_joules) == (70 * 45.0, 350.0)
    assert (ledger.dram_joules, ledger.psys_joules) == (69 * 3.0, 0.0)
    assert ledger.holes_s == 1.0
    recent = ledger.recent()
    assert recent is not None
    assert (recent.start, recent.duration_s) == (60.0, 10.0)
    assert len(ledger.intervals()) == 60


def test_intervals_of_several_seconds_count_for_these() -> None:
    ledger = Ledger()
    for start, seconds in ((0.0, 5.0), (5.0, 1.0), (6.0, 5.01), (11.01, 5.0)):
        ledger.add(replace(interval(start, 2.0 * start), duration_s=seconds))

    recent = ledger.recent()

    assert recent is not None
    assert (recent.start, recent.duration_s) == (6.0, 10.01)
    shown = [it.start for it in ledger.by_second()]
    assert shown == [0.0] * 5 + [5.0] + [6.0] * 5 + [11.01] * 5
    for number in range(20):
        ledger.add(replace(interval(20.0 + 5 * number, 2.0), duration_s=5.0))
    assert len(ledger.by_second()) == SHOWN_S


def test_sums_of_domains_that_are_gone_are_forgotten() -> None:
    ledger = Ledger()
    ledger.add(interval(0.0, 2.0))

    ledger.keep([DomainId("another")])

    assert ledger.domains == {}
    assert ledger.host.joules == 2.0


def test_prices() -> None:
    prices = Prices(0.25, "EUR", 400.0)

    assert kwh(7_200_000.0) == 2.0
    assert prices.money(7_200_000.0) == 0.5
    assert prices.co2_g(7_200_000.0) == 800.0
    assert Prices().money(1.0) is None
    assert Prices().co2_g(1.0) is None


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(static_w={0: 31.5, 1: 30.0}),
        Calibration(static_w={}, curve=Curve((1_000, 2_000), (1.0, 2.5))),
    ],
)
def test_a_calibration_is_read_as_it_was_written(calibration: Calibration) -> None:
    data = write_calibration(calibration, "Xeon")

    assert read_calibration(data, "Xeon") == calibration
    assert read_calibration(data, "EPYC") is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps({"model": "", "static_w": [], "curve": None}).encode(),
        json.dumps({"model": "", "static_w": {"0": -1}, "curve": None}).encode(),
        b'{"model": "", "static_w": {"0": NaN}, "curve": null}',
        json.dumps(
            {"model": "", "static_w": {}, "curve": {"khz": [2, 1], "watts": [1, 2]}}
        ).encode(),
    ],
)
def test_what_is_no_calibration_is_refused(document: bytes) -> None:
    with pytest.raises(ConfigError):
        read_calibration(document, "")


@pytest.mark.parametrize("curve", [Curve((), ()), Curve((1, 2), (1.0,))])
def test_a_curve_has_watts_for_each_frequency(curve: Curve) -> None:
    with pytest.raises(ConfigError, match="invalid curve"):
        check_calibration(Calibration(static_w={}, curve=curve))
