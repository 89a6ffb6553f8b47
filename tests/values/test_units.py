from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError
from orchestrator.values.units import format_khz, parse_khz


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
def test_a_frequency_may_be_written_in_the_units_people_use(
    text: str, khz: int
) -> None:
    assert parse_khz(text) == khz


@pytest.mark.parametrize("text", ["", "fast", "2.3", "2.3THz", "-1", "2,3GHz", "1e6"])
def test_what_is_no_frequency_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="no frequency"):
        parse_khz(text)


@pytest.mark.parametrize(
    ("khz", "text"),
    [(None, "-"), (800_000, "800 MHz"), (2_300_000, "2.30 GHz"), (0, "0 MHz")],
)
def test_a_frequency_is_shown_in_the_unit_that_fits(khz: int | None, text: str) -> None:
    assert format_khz(khz) == text
