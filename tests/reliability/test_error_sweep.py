# SPDX-License-Identifier: Apache-2.0
"""Errors of every system call: the daemon lives, and every setting is restored.

ENOSPC, EIO, EBUSY, EPERM, EMFILE and EINTR, once each: a sample of them, at even
distances; all of them by `make fuzz`.
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
    cases = choose(sweep.errors(process, *LIFE), count)
    check(sweep.run(cases, call_fails))


@pytest.mark.parametrize(
    ("step", "process"), [("undo", MONITOR), ("replay", MAIN), ("restore", MAIN)]
)
def test_restoring_can_be_repeated_after_any_error(
    sweep: Sweep, check: Check, step: str, process: Process
) -> None:
    cases = choose(sweep.errors(process, step), 2)
    check(sweep.run(cases, call_of_restoring_fails))
