"""A client of the control API for programs and for the command.

Only `http.client` and `json`: it is imported at each start of the command, and costs
31 ms where the comfortable libraries cost 107.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from urllib.parse import quote

from orchestrator.control import calls
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from orchestrator.control import documents
    from orchestrator.control.calls import Call

AnswerT = TypeVar("AnswerT")

ANSWER_TIMEOUT_S = 10.0
"""The slowest honest answer waits for a governor's switch, 24 ms measured."""


class DaemonUnreachable(ControlError):  # noqa: N818 - named as its siblings
    """No daemon answers at the socket; start it, then try again."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, status=503, hint=hint)


class AccessDenied(ControlError):  # noqa: N818 - named as its siblings
    """The socket is there, but not for this process; ask for the group."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, status=403, hint=hint)


class ControlClient:
    """Calls of the daemon at one control socket, over one kept connection.

    Every method raises `ControlError`: `DaemonUnreachable`, `AccessDenied`, or what
    the daemon answered.
    Synchronization: one thread at a time.
    """

    def __init__(self, path: Path, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._path = path
        self._connection = _UnixConnection(path, timeout_s)

    def __enter__(self) -> Self:
        """Return the client; leaving the block closes it."""
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
        """Close the connection; the next call would open another."""
        self._connection.close()

    def status(self) -> documents.Status:
        """Tell everything at once."""
        return self._call(calls.STATUS)

    def domains(self) -> documents.DomainList:
        """List all domains."""
        return self._call(calls.DOMAINS)

    def domain(self, domain: str) -> documents.Domain:
        """Show one domain, by UUID, name or id."""
        return self._call(calls.SHOW_DOMAIN, {"domain": domain})

    def channels(self) -> documents.ChannelList:
        """List all channels of all domains."""
        return self._call(calls.CHANNELS)

    def cpus(self) -> documents.CpuList:
        """List all host CPUs."""
        return self._call(calls.CPUS)

    def cpu(self, pcpu: int) -> documents.Cpu:
        """Show one host CPU."""
        return self._call(calls.SHOW_CPU, {"pcpu": pcpu})

    def override(self, pcpu: int, khz: int) -> documents.Cpu:
        """Fix the clock of the CPU's whole clock group."""
        body: documents.ClockRequest = {"khz": khz}
        return self._call(calls.OVERRIDE, {"pcpu": pcpu}, body)

    def release(self, pcpu: int) -> documents.Cpu:
        """Give the clock of the CPU's whole clock group back to its votes."""
        return self._call(calls.RELEASE, {"pcpu": pcpu})

    def switch_channel(
        self, domain: str, number: int, *, is_enabled: bool
    ) -> documents.Channel:
        """Enable or disable a channel."""
        body: documents.EnabledRequest = {"enabled": is_enabled}
        return self._call(
            calls.SWITCH_CHANNEL, {"domain": domain, "number": number}, body
        )

    def policies(self) -> documents.PolicyList:
        """List the policies that are in force."""
        return self._call(calls.POLICIES)

    def set_policy(self, domain: str, name: str, text: str) -> documents.Policy:
        """Give a running domain a policy, in place of the one of this name."""
        body: documents.PolicyRequest = {"text": text}
        return self._call(calls.SET_POLICY, {"domain": domain, "name": name}, body)

    def remove_policy(self, domain: str, name: str) -> documents.Domain:
        """End a policy that was given over this API."""
        return self._call(calls.REMOVE_POLICY, {"domain": domain, "name": name})

    def instruct(self, text: str, cpu: int | None = None) -> documents.OutcomeList:
        """Do what messages for DPDK's vm_power_manager ask for."""
        body: documents.InstructionRequest = {"text": text, "cpu": cpu}
        return self._call(calls.INSTRUCT, body=body)

    def events(
        self, *, follow: bool = False, clocks: bool = True
    ) -> Iterator[documents.EventRecord]:
        """Give recent events and, with `follow`, those that happen from now on.

        Without `clocks` changes of clocks are left out, of which there may be many.
        The connection is busy until the iterator ends.
        """
        words = (("follow=true", follow), ("clocks=false", not clocks))
        query = "&".join(word for word, is_said in words if is_said)
        target = calls.EVENTS.path + (f"?{query}" if query else "")
        response = self._send("GET", target, None)
        if follow and self._connection.sock is not None:
            self._connection.sock.settimeout(None)
        try:
            # By readline: other splitters also break lines at U+2028.
            for line in iter(response.readline, b""):
                yield json.loads(line)
            _check_end(response)
        except (OSError, http.client.HTTPException) as error:
            raise self._hung_up(error) from error
        finally:
            response.close()
            self.close()

    def openapi(self) -> dict[str, Any]:
        """Return the description of all calls."""
        response = self._send("GET", calls.OPENAPI_PATH, None)
        return cast("dict[str, Any]", json.loads(response.read()))

    def _call(
        self,
        call: Call[AnswerT],
        parameters: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> AnswerT:
        quoted = {k: quote(str(v), safe="") for k, v in (parameters or {}).items()}
        response = self._send(call.method, call.path.format(**quoted), body)
        return cast("AnswerT", json.loads(self._read(response)))

    def _send(
        self, method: str, target: str, body: Mapping[str, Any] | None
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer; raises if it is a failure."""
        data = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, target, body=data)
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._hung_up(error) from error
        if response.status >= http.client.BAD_REQUEST:
            raise _failure_in(response.status, self._read(response))
        return response

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._hung_up(error) from error

    def _hung_up(self, error: Exception) -> ControlError:
        match error:
            case PermissionError():
                return AccessDenied(
                    f"permission denied at {self._path}",
                    hint="run it as root or as a member of the socket's group",
                )
            case FileNotFoundError() | ConnectionRefusedError():
                return DaemonUnreachable(
                    f"no vmpowerd answers at {self._path}",
                    hint="start it with 'systemctl start vmpowerd', or name its "
                    "directory with --run-dir",
                )
            case http.client.IncompleteRead():
                return DaemonUnreachable(f"vmpowerd at {self._path} ended suddenly")
            case TimeoutError():
                return DaemonUnreachable(f"vmpowerd at {self._path} does not answer")
            case _:
                return DaemonUnreachable(f"vmpowerd at {self._path} hung up: {error}")


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


def _check_end(response: http.client.HTTPResponse) -> None:
    """Tell the end of a stream from the end of the daemon between two lines of it.

    http.client says by `chunk_left` alone whether the last chunk has come.
    """
    if getattr(response, "chunk_left", None) is not None:
        raise http.client.IncompleteRead(b"")


def _failure_in(status: int, body: bytes) -> ControlError:
    """Turn an answer of 400 or above into an error, whoever wrote it."""
    try:
        error = json.loads(body)["error"]
        message, hint = str(error["message"]), str(error.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        message, hint = f"the daemon answered with HTTP status {status}", ""
    return ControlError(message, status=status, hint=hint)
