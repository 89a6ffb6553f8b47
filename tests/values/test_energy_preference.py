# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError
from orchestrator.values.energy_preference import (
    WORDS,
    canonical_preference,
    parse_preference,
    rank_preference,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("power", "power"),
        ("0", "performance"),
        ("128", "balance_performance"),
        ("0192", None),
        ("64", "64"),
        ("064", "64"),
        ("256", None),
        ("-1", None),
        ("", None),
        ("default", None),
        ("Power", None),
        ("\u0663", None),
        ("9" * 5_000, None),
    ],
)
def test_a_preference_has_one_spelling(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ConfigError, match="invalid energy preference"):
            parse_preference(text)
    else:
        assert parse_preference(text) == expected


def test_a_lower_number_prefers_performance() -> None:
    ranked = sorted([*WORDS, "64", "200"], key=rank_preference)
    assert ranked[:3] == ["performance", "64", "balance_performance"]
    assert ranked[-2:] == ["200", "power"]


def test_what_the_kernel_shows_is_taken_as_it_is() -> None:
    assert canonical_preference("custom") == "custom"
    assert canonical_preference("255") == "power"
