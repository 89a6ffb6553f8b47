"""How many examples a property test draws.

`make test` draws as many as the test names; `make check` draws a tenth of them, by the
hypothesis profile `fast` (tests/conftest.py).
"""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100
"""What hypothesis draws by default."""


def examples(count: int) -> int:
    """Return how many examples to draw where `count` are drawn by default."""
    assert settings.default is not None
    return max(1, count * settings.default.max_examples // _USUAL)
