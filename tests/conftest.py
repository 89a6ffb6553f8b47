# SPDX-License-Identifier: Apache-2.0
"""Fixtures, order and levels of all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from orchestrator.channel.protocol.generations import Generation
from tests.properties import FUZZ_EXAMPLES
from tests.rig.labs import Lab
from tests.rig.waiting import LAB_DEADLINE_S

_TESTS = Path(__file__).parent
_SLOW = {_TESTS / name for name in ("bench", "daemon", "packaging", "reliability")}
"""Their tests start daemons or build packages: half of the time of all but the rig."""

_LONGEST = {"test_chain.py", "test_p_state_chain.py", "test_service.py"}
"""A nested QEMU, emulated in an emulated machine, or all of Debian."""
_LAB_TIMEOUT_S = LAB_DEADLINE_S + 300

# No example has a time limit, nor has drawing it: machines are loaded.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", _UNHURRIED)
settings.load_profile("usual")
# For `make check`; tests/properties.py scales the counts that tests name.
settings.register_profile("fast", _UNHURRIED, max_examples=10)
settings.register_profile("thorough", _UNHURRIED, max_examples=1000)
settings.register_profile("fuzz", _UNHURRIED, max_examples=FUZZ_EXAMPLES)

pytest_plugins = ("tests.rig.fixtures", "tests.fuzz_counts")


def pytest_configure() -> None:
    """Let the programs that tests start receive the signals that tests send them.

    A shell starts background jobs with SIGINT ignored, nohup with SIGHUP ignored, and
    children inherit that; a handler, in contrast, does not survive exec.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a packet generation in test ids by its size, not by its address; and a lab.

    All workers of pytest-xdist must collect the same ids.
    """
    if isinstance(val, Lab):
        return val.name
    return str(val.size_bytes) if isinstance(val, Generation) else None


def _do_nothing(_number: int, _frame: object) -> None:
    """Handle a signal as if it were ignored."""


@pytest.hookimpl(tryfirst=True)  # before tests are selected by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need and take; run linters first and the rig last."""
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.rig)
            item.add_marker(pytest.mark.timeout(_LAB_TIMEOUT_S))
        if not _SLOW.isdisjoint(item.path.parents):
            item.add_marker(pytest.mark.slow)
    items.sort(key=_rank)  # stable: the order within a file stays


def _rank(item: pytest.Item) -> int:
    if item.path.name == "test_linters.py":
        return 0
    if not item.get_closest_marker("rig"):
        return 1
    # The longest first: workers that share them end at about the same time.
    return 2 if item.path.name in _LONGEST else 3
