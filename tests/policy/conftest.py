# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policy.engine_harness import EngineHarness


@pytest.fixture
def harness() -> EngineHarness:
    return EngineHarness()
