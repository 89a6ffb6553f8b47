"""What answers questions, whatever reads the counters behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orchestrator.sampling.question import Question
    from orchestrator.sampling.readings import Reading
    from orchestrator.values.domain import DomainId


class Sampling(Protocol):
    """What answers questions; see `sampling.host`."""

    def find_obstacle(self, question: Question) -> str | None:
        """Say why a question can never be answered here; it does not block."""
        ...

    def read(self, question: Question) -> Reading:
        """Answer a question; from any thread, may block.

        Raises:
            SamplingError: it cannot be answered now.
        """
        ...

    def read_together(
        self, questions: Collection[Question]
    ) -> Mapping[DomainId, Reading]:
        """Answer questions for UTILISATION, as far as one call does; may block."""
        ...

    def keep(self, pcpus: Collection[int]) -> None:
        """Close the counters of branches of all other CPUs; it does not block."""
        ...
