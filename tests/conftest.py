"""Fixtures and order of all tests."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = ("tests.rig.fixtures",)


def pytest_configure() -> None:
    """Have the programs that tests start hear the signals that tests send them.

    What a shell starts in the background ignores SIGINT, under nohup SIGHUP, and hands
    that on; a handler, unlike that, ends with exec.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: object) -> None:
    """As if the signal were ignored."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what finds something in seconds first, and the minutes last."""
    items.sort(key=_rank)  # stable: the order within a file stays


def _rank(item: pytest.Item) -> int:
    if item.path.name == "test_linters.py":
        return 0
    return 2 if item.get_closest_marker("rig") else 1
