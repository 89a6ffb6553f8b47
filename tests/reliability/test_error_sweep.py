# SPDX-License-Identifier: Apache-2.0
"""Errors of every system call: the daemon lives, and every setting is restored.

ENOSPC, EIO, EBUSY, EPERM, EMFILE and EINTR, once and lasting: a sample of the calls, at
even distances; all of them by `make fuzz`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.properties import choose
from tests.reliability.faults import Process
from tests.reliability.sweep import LIFE, call_fails, call_of_restoring_fails

if TYPE_CHECKING:
    from tests.reliability.conftest import Check
    from tests.reliability.sweep import Sweep

pytestmark = pytest.mark.fuzz

MAIN, MONITOR = Process.MAIN, Process.MONITOR


@pytest.mark.parametrize(("process", "count"), [(MAIN, 6), (MONITOR, 3)])
def test_no_error_ends_the_daemon_or_leaves_a_setting_changed(
    sweep: Sweep, check: Check, process: Process, count: int
) -> None:
    cases = choose(sweep.errors(process, *LIFE[1:]), count)
    check(sweep.run(cases, call_fails))


def test_an_error_that_lasts_does_not_end_the_daemon_and_all_is_restored_after_it(
    sweep: Sweep, check: Check
) -> None:
    cases = choose(sweep.lasting_errors(*LIFE[1:]), 4)
    check(sweep.run(cases, call_fails))


@pytest.mark.parametrize("step", ["start", "replay", "restore"])
def test_restoring_can_be_repeated_after_an_error_that_lasted(
    sweep: Sweep, check: Check, step: str
) -> None:
    cases = choose(sweep.lasting_errors(step), 1)
    check(sweep.run(cases, call_of_restoring_fails))


@pytest.mark.parametrize(
    ("step", "process"),
    [("start", MAIN), ("undo", MONITOR), ("replay", MAIN), ("restore", MAIN)],
)
def test_restoring_can_be_repeated_after_any_error(
    sweep: Sweep, check: Check, step: str, process: Process
) -> None:
    cases = choose(sweep.errors(process, step), 2)
    check(sweep.run(cases, call_of_restoring_fails))
