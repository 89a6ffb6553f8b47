# SPDX-License-Identifier: Apache-2.0
"""How many examples a property test draws.

`make test` draws as many as the test names. Hypothesis profiles (tests/conftest.py)
change that: `make check` selects `fast`, a tenth of them, and
`--hypothesis-profile thorough` draws ten times as many, for a night.
"""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100
"""What hypothesis draws by default."""
_FEWEST = 5


def examples(count: int) -> int:
    """Return how many examples to draw where `count` are drawn by default."""
    assert settings.default is not None
    return max(_FEWEST, count * settings.default.max_examples // _USUAL)
