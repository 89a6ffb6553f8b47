# SPDX-License-Identifier: Apache-2.0
"""A sweep, and how its outcome is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.reliability.faults import Faults
from tests.reliability.programs import ForkServer
from tests.reliability.sweep import Outcome, Sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

Check = Callable[[Outcome], None]
_FEWEST_REACHED = 0.7
_MANY = 20


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """The fork server with the library of faults preloaded."""
    faults = Faults(tmp_path_factory.mktemp("faults"))
    with ForkServer(faults.environment) as server:
        yield Sweep(server, faults)


@pytest.fixture
def check(record_property: Callable[[str, object], None]) -> Check:
    """Check that no case failed and that most were reached; count them."""

    def judge(outcome: Outcome) -> None:
        record_property("inputs", outcome.reached)
        for verdict, count in sorted(outcome.verdicts.items()):
            record_property(verdict, count)
        shown = "\n".join(outcome.failures)
        assert not outcome.failures, f"{len(outcome.failures)} failed:\n{shown}"
        total = outcome.verdicts.total()
        # In a sample of few, threads and messages may take another order each time.
        fewest = _FEWEST_REACHED * total if total >= _MANY else 1
        assert outcome.reached >= fewest, outcome.verdicts

    return judge
