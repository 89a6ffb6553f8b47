# SPDX-License-Identifier: Apache-2.0
"""The sample requests of policies, and their answers; pure.

Theory of operation: samples are read in threads. A sampler that reads many domains with
one call gets all requests of one tick together. That call may hang because of one
domain. While it is in progress, further requests are sent individually; one that waits
in it can be sent individually as well, and the first answer wins. A domain that is
missing in the result is requested individually, which reports the reason.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from orchestrator.sampling.contract import SamplingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.policy.subject import Source
    from orchestrator.sampling.contract import Lane, SampleTarget
    from orchestrator.sampling.kinds import SampleKind, Samplers
    from orchestrator.values.domain import DomainId


class Submit(Protocol):
    """Runs work in threads."""

    def __call__(
        self, lane: Lane, uuid: DomainId | None, work: Callable[[], object]
    ) -> None:
        """Run `work`, which reads and raises nothing; from any thread.

        Args:
            lane: the threads to run it in.
            uuid: for which domain; None: for many.
            work: the call.
        """
        ...


class RequestId(NamedTuple):
    """Identifies a request."""

    uuid: DomainId
    source: Source
    """Of the policy that sent it."""
    number: int
    """Unique."""


class Answer(NamedTuple):
    """The result of a request."""

    request_id: RequestId
    reading: Any
    """What the sampler read; None: nothing."""
    problem: str
    """Why there is no reading."""


class _Request(NamedTuple):
    kind: SampleKind
    target: SampleTarget


class SampleRequests:
    """The pending requests.

    Synchronization: one thread, the engine's; what threads share with it is marked.
    """

    def __init__(
        self,
        *,
        samplers: Samplers,
        submit: Submit,
        wake: Callable[[], object],
    ) -> None:
        """Request nothing yet.

        Args:
            samplers: read the samples.
            submit: runs them in threads.
            wake: called when there is an answer; from any thread.
        """
        self._samplers = samplers
        self._submit = submit
        self._wake = wake
        self._gathered: dict[SampleKind, dict[RequestId, _Request]] = {}
        self._batched: dict[RequestId, _Request] = {}
        """Sent together with others and not answered yet."""
        self._batches: set[SampleKind] = set()
        """Kinds with a batch in progress; the thread that makes the call removes it."""
        self._answers: deque[Answer] = deque()
        """Appended to by threads."""

    def add(
        self, request_id: RequestId, kind: SampleKind, target: SampleTarget
    ) -> None:
        """Request a sample, at once or together with others at the next `send`."""
        request = _Request(kind, target)
        if self._samplers[kind].is_batched and kind not in self._batches:
            self._gathered.setdefault(kind, {})[request_id] = request
        else:
            self._send_individually(request_id, request)

    def send(self) -> None:
        """Send what was gathered; a single domain needs no batch."""
        gathered, self._gathered = self._gathered, {}
        for kind, requests in gathered.items():
            if len({request.target.uuid for request in requests.values()}) > 1:
                self._batched.update(requests)
                self._batches.add(kind)
                work = partial(self._read_together, kind, requests)
                self._submit(self._samplers[kind].lane, None, work)
                continue
            for request_id, request in requests.items():
                self._send_individually(request_id, request)

    def request_individually(self, request_id: RequestId) -> None:
        """Send a request that waits in a batch individually, too."""
        request = self._batched.pop(request_id, None)
        if request is not None:
            self._send_individually(request_id, request)

    def take_answers(self) -> Iterator[Answer]:
        """Yield the answers that have arrived."""
        while self._answers:
            answer = self._answers.popleft()
            self._batched.pop(answer.request_id, None)
            yield answer

    def _send_individually(self, request_id: RequestId, request: _Request) -> None:
        work = partial(self._read, request_id, request)
        self._submit(self._samplers[request.kind].lane, request.target.uuid, work)

    # In threads

    def _read(self, request_id: RequestId, request: _Request) -> None:
        try:
            reading = self._samplers[request.kind].read(request.target)
            answer = Answer(request_id, reading, "")
        except SamplingError as error:
            answer = Answer(request_id, None, str(error))
        self._answers.append(answer)
        self._wake()

    def _read_together(
        self, kind: SampleKind, requests: Mapping[RequestId, _Request]
    ) -> None:
        try:
            readings = self._samplers[kind].read_together(
                [request.target for request in requests.values()]
            )
        finally:
            self._batches.discard(kind)
        for request_id, request in requests.items():
            uuid = request.target.uuid
            if uuid in readings:
                self._answers.append(Answer(request_id, readings[uuid], ""))
            else:
                self._send_individually(request_id, request)
        self._wake()
