# SPDX-License-Identifier: Apache-2.0
"""The fake daemon as fixtures, for tests of the API and of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.control.fake_daemon import FakeDaemon, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with serving(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def run_dir(daemon: FakeDaemon, tmp_path: Path) -> Path:
    """Return the directory of the daemon's sockets."""
    assert daemon.domains
    return tmp_path
