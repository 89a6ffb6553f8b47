# SPDX-License-Identifier: Apache-2.0
"""A client of the control API, for the command and for other programs.

It uses `http.client` and `json` only, because the command imports it at each start: 31
ms, where HTTP libraries take 107.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import quote

from orchestrator.control import OPENAPI_PATH
from orchestrator.control.client_calls import ClientCalls
from orchestrator.errors import ControlError
from orchestrator.system.service_unit import start_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

ANSWER_TIMEOUT_S = 10.0
"""Seconds for an answer. The slowest waits for a governor switch: 24 ms measured."""


class DaemonUnreachable(ControlError):  # noqa: N818 - named as its siblings
    """No daemon answers at the socket; start it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, status=503, hint=hint)


class AccessDenied(ControlError):  # noqa: N818 - named as its siblings
    """This process may not use the socket; become a member of its group."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, status=403, hint=hint)


class ControlClient(ClientCalls):
    """Calls the daemon at one control socket, over one persistent connection.

    Every method raises `ControlError`: `DaemonUnreachable`, `AccessDenied`, or the
    failure that the daemon reports.
    Synchronization: one thread at a time.
    """

    def __init__(self, path: Path, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._path = path
        self._connection = _UnixConnection(path, timeout_s)

    def __enter__(self) -> Self:
        """Return the client; it is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return cast("dict[str, Any]", self._call("GET", OPENAPI_PATH))

    def _call(
        self, method: str, target: str, body: Mapping[str, object] | None = None
    ) -> object:
        return json.loads(self._read(self._send(method, target, body)))

    def _stream(
        self, path: str, query: Mapping[str, str | int | bool]
    ) -> Iterator[object]:
        """Yield the documents of a stream; the connection is busy until it ends."""
        texts = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in query.items()
        }
        words = (f"{name}={quote(text, safe='')}" for name, text in texts.items())
        response = self._send("GET", f"{path}?{'&'.join(words)}", None)
        if query.get("follow") and self._connection.sock is not None:
            # The next event may be hours away.
            self._connection.sock.settimeout(None)
        try:
            # By readline: other splitters also break lines at U+2028.
            for line in iter(response.readline, b""):
                yield json.loads(line)
            _check_end(response)
        except (OSError, http.client.HTTPException) as error:
            raise self._error_of(error) from error
        finally:
            response.close()
            self.close()

    def _send(
        self, method: str, target: str, body: Mapping[str, object] | None
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer; a failure is raised."""
        data = None if body is None else json.dumps(body).encode()
        self._connection.close_if_ended()
        try:
            self._connection.request(method, target, body=data)
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._error_of(error) from error
        if response.status >= http.client.BAD_REQUEST:
            raise _failure_in(response.status, self._read(response))
        return response

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._error_of(error) from error

    def _error_of(self, error: Exception) -> ControlError:
        match error:
            case PermissionError():
                return AccessDenied(
                    f"permission denied: {self._path}",
                    hint="run as root or as a member of the socket's group",
                )
            case FileNotFoundError() | ConnectionRefusedError():
                return DaemonUnreachable(
                    f"no vmpowerd answers at {self._path}",
                    hint=f"start it with '{start_command()}', or set its "
                    "directory with --run-dir",
                )
            case http.client.IncompleteRead():
                return DaemonUnreachable(
                    f"vmpowerd at {self._path} terminated unexpectedly"
                )
            case TimeoutError():
                return DaemonUnreachable(f"vmpowerd at {self._path} does not answer")
            case _:
                return DaemonUnreachable(
                    f"connection to vmpowerd at {self._path} lost: {error}"
                )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(os.fspath(self._path))
        except OSError:
            sock.close()
            raise
        self.sock = sock

    def close_if_ended(self) -> None:
        """Let the next call open another connection if the daemon has closed this one.

        The daemon closes connections that are idle.
        """
        if self.sock is None:
            return
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if poll.poll(0):  # between two calls only an end can be read
            self.close()


def _check_end(response: http.client.HTTPResponse) -> None:
    """Raise if a stream broke off between two lines, as when the daemon is killed.

    Only `chunk_left` of http.client shows whether the last chunk has arrived.
    """
    if getattr(response, "chunk_left", None) is not None:
        raise http.client.IncompleteRead(b"")


def _failure_in(status: int, body: bytes) -> ControlError:
    """Turn an answer of 400 or above into an error, even if it is no document."""
    try:
        error = json.loads(body)["error"]
        message, hint = str(error["message"]), str(error.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        message, hint = f"the daemon answered with HTTP status {status}", ""
    return ControlError(message, status=status, hint=hint)
