# SPDX-License-Identifier: Apache-2.0
"""How many examples a property test draws.

`make test` draws as many as the test names. Hypothesis profiles (tests/conftest.py)
change that: `make check` selects `fast`, a tenth of them,
`--hypothesis-profile thorough` draws ten times as many, for a night, and `make fuzz`
two hundred times as many for the tests that are marked `fuzz`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

FUZZ_EXAMPLES = 20_000
"""What the profile of `make fuzz` draws where nothing else is said."""
_USUAL = 100
"""What hypothesis draws by default."""
_FEWEST = 5


def examples(count: int) -> int:
    """Return how many examples to draw where `count` are drawn by default."""
    assert settings.default is not None
    return max(_FEWEST, count * settings.default.max_examples // _USUAL)


def is_whole() -> bool:
    """Whether `make fuzz` runs: what is sampled in other runs is tried whole."""
    assert settings.default is not None
    return settings.default.max_examples >= FUZZ_EXAMPLES


def choose(cases: Sequence[T], count: int) -> list[T]:
    """Return cases at even distances: `count` of them, or all if `is_whole`."""
    if is_whole() or len(cases) <= count:
        return list(cases)
    return [cases[(2 * n + 1) * len(cases) // (2 * count)] for n in range(count)]
