# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the control API's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.control import CONTROL_SOCKET, READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from tests.control.fixtures import daemon, run_dir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["daemon", "run_dir"]


@pytest.fixture
def client(run_dir: Path) -> Iterator[ControlClient]:
    with ControlClient(run_dir / CONTROL_SOCKET) as client:
        yield client


@pytest.fixture
def reader(run_dir: Path) -> Iterator[ControlClient]:
    with ControlClient(run_dir / READ_ONLY_SOCKET) as client:
        yield client
