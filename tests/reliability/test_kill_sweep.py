# SPDX-License-Identifier: Apache-2.0
"""SIGKILL before and after every system call: every setting is as it was found.

A sample of the calls, at even distances; all of them by `make fuzz`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.properties import choose
from tests.reliability.faults import Process
from tests.reliability.sweep import (
    LIFE,
    both_are_killed,
    main_is_killed,
    monitor_is_killed,
)

if TYPE_CHECKING:
    from tests.reliability.conftest import Check
    from tests.reliability.sweep import Sweep

pytestmark = pytest.mark.fuzz

MAIN, MONITOR = Process.MAIN, Process.MONITOR


def test_the_monitor_restores_everything_wherever_main_is_killed(
    sweep: Sweep, check: Check
) -> None:
    cases = choose(sweep.stops(MAIN, *LIFE), 5)
    check(sweep.run(cases, main_is_killed))


def test_main_restores_everything_wherever_the_monitor_is_killed(
    sweep: Sweep, check: Check
) -> None:
    cases = choose(sweep.stops(MONITOR, *LIFE), 3)
    check(sweep.run(cases, monitor_is_killed))


@pytest.mark.parametrize("process", [MAIN, MONITOR])
def test_the_next_start_or_restore_restores_everything_wherever_both_are_killed(
    sweep: Sweep, check: Check, process: Process
) -> None:
    cases = choose(sweep.stops(process, *LIFE), 3)
    check(sweep.run(cases, both_are_killed))


@pytest.mark.parametrize(
    ("step", "process"), [("undo", MONITOR), ("replay", MAIN), ("restore", MAIN)]
)
def test_the_next_start_or_restore_completes_restoring_wherever_it_is_killed(
    sweep: Sweep, check: Check, step: str, process: Process
) -> None:
    cases = choose(sweep.stops(process, step), 2)
    check(sweep.run(cases, both_are_killed))
