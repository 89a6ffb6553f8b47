# SPDX-License-Identifier: Apache-2.0
"""The load generator: a C program that acts as all guests at once."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.programs import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.workspace import Workspace

WINDOW = 31
"""Requests outstanding per channel in a stream: a burst that a server may read at once.
Odd, so that a burst as a whole changes the frequency, too."""
SERVED_TIMEOUT_S = 30.0
SCALE_MAX = 3
_MAX_TRIES = 5
_MAX_LOG_LINES = 12
"""Lines of a server's log that an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the load measured in one run."""

    seconds: float
    answers: int
    """Within these seconds."""
    requests: int
    """In total, including those that were answered after the end."""
    lost: int
    p50_ns: int
    p99_ns: int
    p999_ns: int


class Load:
    """One running load generator, connected to one server.

    Synchronization: one thread.
    """

    def __init__(
        self, process: subprocess.Popen[str], workspace: Workspace, channels: int
    ) -> None:
        self._process = process
        self._make_workspace = workspace
        self._channels = channels

    @property
    def pid(self) -> int:
        """Process ID of the generator."""
        return self._process.pid

    def wait_until_served(self) -> tuple[int, int]:
        """Wait until every channel is connected, and until every one is served.

        Returns:
            The two times, in ns of the monotonic clock.

        Raises:
            BenchError: a channel was not connected or not served in time.
        """
        answer = self._command(f"wait {SERVED_TIMEOUT_S}")
        channels = self._channels
        if answer["served"] != channels:
            raise BenchError(
                f"of {channels} channels {answer['accepted']} were connected and"
                f" {answer['served']} served; the server's log:\n{self._server_log()}"
            )
        return answer["accepted_at_ns"], answer["served_at_ns"]

    def round_trips(self, seconds: float) -> Run:
        """Keep one request outstanding per channel.

        Raises:
            BenchError: an answer was wrong, or there was none.
        """
        return self._run(f"roundtrip {seconds}")

    def stream(self, seconds: float) -> Run:
        """Keep `WINDOW` requests outstanding per channel.

        Raises:
            BenchError: an answer was wrong, or there was none.
        """
        return self._run(f"pipeline {seconds} {WINDOW}")

    def check_frequencies(self) -> None:
        """Compare each frequency with its channel's last request.

        Raises:
            BenchError: they differ.
        """
        units: list[int] = self._command("units")["units"]
        cpufreq = self._make_workspace.tree / "devices/system/cpu/cpufreq/policy0"
        highest, lowest = (
            int((cpufreq / f"cpuinfo_{end}_freq").read_text(encoding="ascii"))
            for end in ("max", "min")
        )
        for channel, unit in enumerate(units):
            wanted = highest if unit == SCALE_MAX else lowest
            found = self._make_workspace.read_khz(channel)
            if found != wanted:
                raise BenchError(
                    f"channel {channel} requested {wanted} kHz and got {found}"
                )

    def _run(self, command: str) -> Run:
        """Run until something was measured.

        If the machine is very busy, every channel's first answer may be late, so that
        vmpowerd drops it; then there is no latency.
        """
        requests = lost = 0
        for _ in range(_MAX_TRIES):
            run = self._run_once(command)
            requests, lost = requests + run.requests, lost + run.lost
            if run.answers:
                return replace(run, requests=requests, lost=lost)
        raise BenchError(
            f"{command}: no answer in {_MAX_TRIES} tries: the machine may be too busy"
        )

    def _run_once(self, command: str) -> Run:
        answer = self._command(command)
        nacks, wrong = answer.pop("nacks"), answer.pop("wrong")
        if nacks or wrong:
            raise BenchError(f"{command}: {nacks} requests refused, {wrong} wrong")
        return Run(**answer)

    def _command(self, command: str) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise BenchError("the load generator has no pipes")
        try:
            stdin.write(f"{command}\n")
            stdin.flush()
        except BrokenPipeError:
            raise BenchError(self._end_message()) from None
        line = stdout.readline()
        if not line:
            raise BenchError(self._end_message())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end_message(self) -> str:
        stderr = self._process.stderr
        errors = stderr.read().strip() if stderr else ""
        log = self._server_log()
        return f"the load generator ended: {errors}; the server's log:\n{log}"

    def _server_log(self) -> str:
        log = self._make_workspace.log
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-_MAX_LOG_LINES:]) or "(nothing)"


@contextmanager
def start_load(
    workspace: Workspace, *, channels: int | None = None, is_spinning: bool = False
) -> Iterator[Load]:
    """Start a load generator that listens for its server.

    Args:
        workspace: its directory.
        channels: it listens on the first ones; None: on all.
        is_spinning: it never sleeps while it measures.
    """
    channels = channels or workspace.channels
    arguments = [
        str(build("load")),
        str(workspace.sockets),
        str(channels),
        str(workspace.per_domain),
        *(["spin"] if is_spinning else []),
    ]
    with subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if not process.stdout or "listening" not in process.stdout.readline():
            raise BenchError("the load generator is not listening")
        try:
            yield Load(process, workspace, channels)
        finally:
            process.kill()
