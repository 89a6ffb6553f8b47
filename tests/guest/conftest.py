# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.monitor.in_process_monitor import InProcessMonitor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[InProcessMonitor]:
    with InProcessMonitor(tmp_path) as made:
        yield made
