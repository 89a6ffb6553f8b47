"""Fixtures and order of all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = ("tests.rig.fixtures",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what finds something in seconds first, and the minutes last."""
    items.sort(key=_rank)  # stable: the order within a file stays


def _rank(item: pytest.Item) -> int:
    if item.path.name == "test_linters.py":
        return 0
    return 2 if item.get_closest_marker("rig") else 1
