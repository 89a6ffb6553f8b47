# SPDX-License-Identifier: Apache-2.0
"""Coverage of the processes that tests start.

coverage sets an environment variable, and each Python process that has it measures
itself (`patch = subprocess` in pyproject.toml).
"""

from __future__ import annotations

import os

_VARIABLE = "COVERAGE_PROCESS_CONFIG"


def variables() -> dict[str, str]:
    """Return what to pass to a process that does not inherit the environment."""
    return {name: value for name, value in os.environ.items() if name == _VARIABLE}


def stop() -> None:
    """Measure no coverage in processes that are started from now on."""
    os.environ.pop(_VARIABLE, None)
