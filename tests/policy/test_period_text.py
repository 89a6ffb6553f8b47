# SPDX-License-Identifier: Apache-2.0
"""The period of a policy in its one line."""

from __future__ import annotations

import pytest

from orchestrator.policy.compile import order_of
from orchestrator.policy.text import describe, parse_policies


@pytest.mark.parametrize(
    "text",
    [
        "time-of-day busy=08:00-18:00 period-s=5",
        "time-of-day busy=08:00-18:00",
        "utilisation period-s=2",
    ],
)
def test_a_period_is_described_if_it_is_set(text: str) -> None:
    (rule,) = parse_policies(text)
    assert ("period-s" in describe(order_of(rule, None))) == ("period-s" in text)
