"""What policies have asked, and the answers that have come; pure.

Theory of operation: questions are answered in threads. How long vCPUs have run is
asked of libvirt, for all domains that want to know it in one tick with one call. That
call may hang because of one of them. While it is under way, further questions are
asked alone; one that waits in it can be pressed, which asks it alone as well, and the
first answer is taken. What the call does not tell of is asked alone, which says why.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from orchestrator.sampling.question import Need, SamplingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.policy.subject import Source
    from orchestrator.sampling.contract import Sampling
    from orchestrator.sampling.question import Question
    from orchestrator.sampling.readings import Reading
    from orchestrator.values.domain import DomainId


class Submit(Protocol):
    """Runs work in threads."""

    def __call__(
        self, need: Need, uuid: DomainId | None, work: Callable[[], object]
    ) -> None:
        """Run `work`, which reads and raises nothing; from any thread.

        Args:
            need: what will be read.
            uuid: for which domain; None: for many.
            work: the call.
        """
        ...


class Asker(NamedTuple):
    """Who asks."""

    uuid: DomainId
    source: Source
    number: int
    """Of the question: no two have the same."""


class Answer(NamedTuple):
    """What came of a question."""

    asker: Asker
    reading: Reading | None
    problem: str
    """Why there is no reading."""


class Inquiry:
    """The questions under way.

    Synchronization: one thread, the engine's; what the threads share with it is said.
    """

    def __init__(
        self, *, sampling: Sampling, submit: Submit, wake: Callable[[], object]
    ) -> None:
        """Ask nothing yet.

        Args:
            sampling: answers questions.
            submit: runs its reading in a thread.
            wake: says that there is an answer; called from any thread.
        """
        self._sampling = sampling
        self._submit = submit
        self._wake = wake
        self._gathered: dict[Asker, Question] = {}
        self._together: dict[Asker, Question] = {}
        """Asked with others, and not answered yet."""
        self._is_together_under_way = False
        """Cleared by the thread that has made the call."""
        self._answers: deque[Answer] = deque()
        """Appended to by threads."""

    def ask(self, asker: Asker, question: Question) -> None:
        """Ask at once, or with others at the next `send`."""
        if question.need is Need.UTILISATION and not self._is_together_under_way:
            self._gathered[asker] = question
        else:
            self._ask_alone(asker, question)

    def send(self) -> None:
        """Ask what was gathered; one domain alone needs no call for many."""
        gathered, self._gathered = self._gathered, {}
        if len({question.uuid for question in gathered.values()}) > 1:
            self._together.update(gathered)
            self._is_together_under_way = True
            work = partial(self._work_together, list(gathered.items()))
            self._submit(Need.UTILISATION, None, work)
            return
        for asker, question in gathered.items():
            self._ask_alone(asker, question)

    def press(self, asker: Asker) -> None:
        """Ask alone what waits for others."""
        question = self._together.pop(asker, None)
        if question is not None:
            self._ask_alone(asker, question)

    def take(self) -> Iterator[Answer]:
        """Yield the answers that have come."""
        while self._answers:
            answer = self._answers.popleft()
            self._together.pop(answer.asker, None)
            yield answer

    # In threads

    def _ask_alone(self, asker: Asker, question: Question) -> None:
        work = partial(self._work_alone, asker, question)
        self._submit(question.need, question.uuid, work)

    def _work_alone(self, asker: Asker, question: Question) -> None:
        try:
            answer = Answer(asker, self._sampling.read(question), "")
        except SamplingError as error:
            answer = Answer(asker, None, str(error))
        self._answers.append(answer)
        self._wake()

    def _work_together(self, asked: Sequence[tuple[Asker, Question]]) -> None:
        try:
            told = self._sampling.read_together([question for _, question in asked])
        finally:
            self._is_together_under_way = False
        for asker, question in asked:
            if question.uuid in told:
                self._answers.append(Answer(asker, told[question.uuid], ""))
            else:
                self._ask_alone(asker, question)
        self._wake()
