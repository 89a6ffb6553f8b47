# SPDX-License-Identifier: Apache-2.0
"""What a call of the control API is, and the table that calls are defined in.

A handler is defined with its method, its path and its models, as in::

    @CALLS.put("/v1/cpus/{pcpu}/clock", answer=Cpu, body=ClockRequest)
    async def override(request: ApiRequest[ClockRequest]) -> Cpu:
        \"\"\"Set the frequency of a CPU.\"\"\"

Its name is the name of the call and of the client's method, its docstring the
description of both. mypy checks that its signature agrees with the models.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from orchestrator.control.models import Document, EventRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.control.parameters import Parameter
    from orchestrator.control.service import ControlBackend, Peer

BodyT = TypeVar("BodyT")
AnswerT = TypeVar("AnswerT", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest(Generic[BodyT]):
    """One request to the API, checked and converted."""

    backend: ControlBackend
    who: Peer
    parameters: Mapping[str, str | int | bool]
    body: BodyT
    """The body's document; None if the call has no body."""

    def text(self, name: str) -> str:
        """Return the parameter of this name."""
        return str(self.parameters[name])

    def number(self, name: str) -> int:
        """Return the integer parameter of this name."""
        return int(self.parameters[name])

    def flag(self, name: str) -> bool:
        """Return the boolean parameter of this name."""
        return bool(self.parameters[name])


Handler: TypeAlias = Callable[[ApiRequest[BodyT]], Awaitable[AnswerT]]
StreamHandler: TypeAlias = Callable[
    [ApiRequest[None]], AsyncGenerator[EventRecord, None]
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One call of the API."""

    name: str
    method: str
    path: str
    """With `{name}` for each parameter of the path."""
    doc: str
    """The first line is its summary."""
    parameters: tuple[Parameter, ...]
    answer: type[Document]
    """The answer's document; of a stream, the document in each line."""
    body: type[Document] | None = None
    errors: tuple[int, ...] = ()
    """HTTP statuses of the failures that are specific to this call."""

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing, and so is allowed to every user of the host."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DocumentCall(Call):
    """A call that is answered with one document."""

    handler: Handler[Any, Document]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamCall(Call):
    """A call that is answered with one document per line (NDJSON), for any time."""

    handler: StreamHandler


class CallTable:
    """All calls, in the order of their definition."""

    def __init__(self, path_parameters: Iterable[Parameter]) -> None:
        """Begin an empty table.

        Args:
            path_parameters: all that a path may name.
        """
        self._path_parameters = {each.name: each for each in path_parameters}
        self._calls: list[DocumentCall | StreamCall] = []

    def __iter__(self) -> Iterator[DocumentCall | StreamCall]:
        """Return the calls."""
        return iter(self._calls)

    def get(
        self,
        path: str,
        *,
        answer: type[AnswerT],
        errors: tuple[int, ...] = (),
        query: tuple[Parameter, ...] = (),
    ) -> Callable[[Handler[None, AnswerT]], DocumentCall]:
        """Define a call that reads."""
        return self._define("GET", path, answer, None, errors, query)

    def put(
        self,
        path: str,
        *,
        answer: type[AnswerT],
        body: type[BodyT],
        errors: tuple[int, ...] = (),
    ) -> Callable[[Handler[BodyT, AnswerT]], DocumentCall]:
        """Define a call that sets something to the state in its body."""
        return self._define("PUT", path, answer, body, errors)

    def post(
        self,
        path: str,
        *,
        answer: type[AnswerT],
        body: type[BodyT],
        errors: tuple[int, ...] = (),
    ) -> Callable[[Handler[BodyT, AnswerT]], DocumentCall]:
        """Define a call that executes what is in its body."""
        return self._define("POST", path, answer, body, errors)

    def delete(
        self, path: str, *, answer: type[AnswerT], errors: tuple[int, ...] = ()
    ) -> Callable[[Handler[None, AnswerT]], DocumentCall]:
        """Define a call that removes something."""
        return self._define("DELETE", path, answer, None, errors)

    def stream(
        self, path: str, *, query: tuple[Parameter, ...]
    ) -> Callable[[StreamHandler], StreamCall]:
        """Define a call that streams events."""

        def define(handler: StreamHandler) -> StreamCall:
            call = StreamCall(
                name=handler.__name__,
                method="GET",
                path=path,
                doc=inspect.getdoc(handler) or "",
                parameters=(*self._parameters(path), *query),
                answer=EventRecord,
                handler=handler,
            )
            self._calls.append(call)
            return call

        return define

    def _define(
        self,
        method: str,
        path: str,
        answer: type[AnswerT],
        body: type[Any] | None,
        errors: tuple[int, ...],
        query: tuple[Parameter, ...] = (),
    ) -> Callable[[Handler[Any, AnswerT]], DocumentCall]:
        def define(handler: Handler[Any, AnswerT]) -> DocumentCall:
            call = DocumentCall(
                name=handler.__name__,
                method=method,
                path=path,
                doc=inspect.getdoc(handler) or "",
                parameters=(*self._parameters(path), *query),
                answer=answer,
                body=body,
                errors=errors,
                handler=handler,
            )
            self._calls.append(call)
            return call

        return define

    def _parameters(self, path: str) -> tuple[Parameter, ...]:
        return tuple(
            self._path_parameters[name] for name in re.findall(r"{(\w+)}", path)
        )
