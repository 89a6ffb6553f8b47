# SPDX-License-Identifier: Apache-2.0
"""Why a vCPU does not have the frequency that it requests."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.history.holds import Hold, HoldCause, VCpuState, find_holds
from orchestrator.limits import Limits, window_of
from orchestrator.values.frequencies import table_from

STEPS = table_from([800_000, 1_200_000, 2_000_000, 3_000_000], has_turbo=False)
WHOLE = window_of(STEPS)
LIMITED = window_of(STEPS, Limits(1_200_000, 2_000_000))


def state(**changes: Any) -> VCpuState:
    usual = VCpuState(
        vote_khz=1_200_000,
        window=WHOLE,
        grant_khz=1_200_000,
        is_enforced=True,
        is_overridden=False,
        has_host_cpus=False,
    )
    return usual._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, []),
        ({"vote_khz": 1_100_000}, []),
        ({"window": None}, [Hold(HoldCause.FLOATING, 0, 0)]),
        (
            {"vote_khz": None, "grant_khz": None},
            [Hold(HoldCause.NO_VOTE, 3_000_000, 800_000)],
        ),
        ({"vote_khz": None, "grant_khz": 800_000}, []),
        (
            {"grant_khz": 2_000_000},
            [Hold(HoldCause.NEIGHBOR, 2_000_000, 1_200_000)],
        ),
        (
            {"grant_khz": 3_000_000, "has_host_cpus": True},
            [Hold(HoldCause.HOST, 3_000_000, 1_200_000)],
        ),
        (
            {"grant_khz": 3_000_000, "is_overridden": True},
            [Hold(HoldCause.OVERRIDE, 3_000_000, 1_200_000)],
        ),
        (
            {"grant_khz": 800_000, "is_overridden": True},
            [Hold(HoldCause.OVERRIDE, 800_000, 1_200_000)],
        ),
        (
            {"grant_khz": 3_000_000, "is_enforced": False},
            [Hold(HoldCause.OBSERVE, 3_000_000, 1_200_000)],
        ),
        (
            {"window": LIMITED, "vote_khz": 800_000},
            [Hold(HoldCause.LOWER_LIMIT, 1_200_000, 800_000)],
        ),
        (
            {"window": LIMITED, "vote_khz": 3_000_000, "grant_khz": 2_000_000},
            [Hold(HoldCause.UPPER_LIMIT, 2_000_000, 3_000_000)],
        ),
        (
            {"window": LIMITED, "vote_khz": 800_000, "grant_khz": 2_000_000},
            [
                Hold(HoldCause.NEIGHBOR, 2_000_000, 1_200_000),
                Hold(HoldCause.LOWER_LIMIT, 1_200_000, 800_000),
            ],
        ),
        (
            {"vote_khz": 3_000_000, "grant_khz": 2_000_000},
            [Hold(HoldCause.UPPER_LIMIT, 2_000_000, 3_000_000)],
        ),
    ],
    ids=str,
)
def test_each_cause(changes: dict[str, object], holds: list[Hold]) -> None:
    assert list(find_holds(state(**changes))) == holds
