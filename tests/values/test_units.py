# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from orchestrator.errors import ConfigError
from orchestrator.values.units import format_khz, parse_khz, parse_us


@pytest.mark.parametrize(
    ("text", "khz"),
    [
        ("2300000", 2_300_000),
        ("2300MHz", 2_300_000),
        ("2.3GHz", 2_300_000),
        (" 800 mhz ", 800_000),
        ("1200000kHz", 1_200_000),
    ],
)
def test_a_frequency_may_be_given_in_several_units(text: str, khz: int) -> None:
    assert parse_khz(text) == khz


@pytest.mark.parametrize("text", ["", "fast", "2.3", "2.3THz", "-1", "2,3GHz", "1e6"])
def test_an_invalid_frequency_is_refused_with_the_valid_forms(text: str) -> None:
    message = f"invalid frequency '{text}': expected 2.3GHz, 2300MHz or kHz"
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_khz(text)


@pytest.mark.parametrize("text", ["0", "0.0MHz", "100.1GHz", "9" * 5000])
def test_a_frequency_that_no_cpu_has_is_refused_with_the_range(text: str) -> None:
    message = f"invalid frequency '{text[:40]}': expected 1 kHz to 100 GHz"
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_khz(text)


@pytest.mark.parametrize(
    ("khz", "text"),
    [(None, "-"), (800_000, "800 MHz"), (2_300_000, "2.30 GHz"), (0, "0 MHz")],
)
def test_a_frequency_is_shown_in_a_suitable_unit(khz: int | None, text: str) -> None:
    assert format_khz(khz) == text


@pytest.mark.parametrize(("text", "us"), [("0", 0), ("50", 50), ("1000000", 1_000_000)])
def test_a_latency_is_a_number_of_microseconds(text: str, us: int) -> None:
    assert parse_us(text) == us


@pytest.mark.parametrize("text", ["", "-1", "1.5", "50us", "1000001", "9" * 5_000, "²"])
def test_what_is_not_a_latency_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"invalid latency .* expected 0 to 1000000"):
        parse_us(text)
