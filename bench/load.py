"""The load generator: a C program that plays all guests at once."""

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

    from bench.place import Place

WINDOW = 31
"""Requests outstanding per channel in a stream: a burst that a server may take at
once. Odd, so that a burst as a whole means another clock too."""
GREETING_WITHIN_S = 30.0
SCALE_MAX = 3
_MOST_TRIES = 5
_LAST_WORDS = 12
"""Lines of a server's log that an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the load saw in one run."""

    seconds: float
    answers: int
    """Within these seconds."""
    requests: int
    """In all, those included that were answered after the end."""
    lost: int
    p50_ns: int
    p99_ns: int
    p999_ns: int


class Load:
    """One running load generator, connected to one server.

    Synchronization: one thread.
    """

    def __init__(
        self, process: subprocess.Popen[str], place: Place, channels: int
    ) -> None:
        self._process = process
        self._place = place
        self._channels = channels

    @property
    def pid(self) -> int:
        """Process id of the generator."""
        return self._process.pid

    def greet(self) -> tuple[int, int]:
        """Wait until every channel is connected, and until every one obeys.

        Returns:
            When both were so, in ns of the monotonic clock.

        Raises:
            BenchError: a channel was not connected, or did not obey, for too long.
        """
        said = self._ask(f"greet {GREETING_WITHIN_S}")
        channels = self._channels
        if said["obeyed"] != channels:
            raise BenchError(
                f"of {channels} channels {said['accepted']} were connected and"
                f" {said['obeyed']} obeyed; the server says:\n{self._server_log()}"
            )
        return said["accepted_at_ns"], said["obeyed_at_ns"]

    def round_trips(self, seconds: float) -> Run:
        """Keep one request outstanding per channel.

        Raises:
            BenchError: an answer was wrong, or none came.
        """
        return self._run(f"roundtrip {seconds}")

    def stream(self, seconds: float) -> Run:
        """Keep `WINDOW` requests outstanding per channel.

        Raises:
            BenchError: an answer was wrong, or none came.
        """
        return self._run(f"pipeline {seconds} {WINDOW}")

    def check_clocks(self) -> None:
        """Compare each clock with what its channel asked for last.

        Raises:
            BenchError: one is another.
        """
        units: list[int] = self._ask("units")["units"]
        cpufreq = self._place.tree / "devices/system/cpu/cpufreq/policy0"
        highest, lowest = (
            int((cpufreq / f"cpuinfo_{end}_freq").read_text(encoding="ascii"))
            for end in ("max", "min")
        )
        for channel, unit in enumerate(units):
            wanted = highest if unit == SCALE_MAX else lowest
            found = self._place.read_clock(channel)
            if found != wanted:
                raise BenchError(
                    f"channel {channel} asked for {wanted} kHz and got {found}"
                )

    def _run(self, command: str) -> Run:
        """Run until something was measured.

        On a machine that is busy enough, every channel's first answer can be later than
        vmpowerd's guests would wait, and is withheld: then there is no time to tell.
        """
        requests = lost = 0
        for _ in range(_MOST_TRIES):
            run = self._run_once(command)
            requests, lost = requests + run.requests, lost + run.lost
            if run.answers:
                return replace(run, requests=requests, lost=lost)
        raise BenchError(
            f"{command}: no answer in {_MOST_TRIES} tries; is the machine this busy?"
        )

    def _run_once(self, command: str) -> Run:
        said = self._ask(command)
        nacks, wrong = said.pop("nacks"), said.pop("wrong")
        if nacks or wrong:
            raise BenchError(f"{command}: {nacks} requests refused, {wrong} wrong")
        return Run(**said)

    def _ask(self, command: str) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise BenchError("the load generator has no pipes")
        try:
            stdin.write(f"{command}\n")
            stdin.flush()
        except BrokenPipeError:
            raise BenchError(self._obituary()) from None
        line = stdout.readline()
        if not line:
            raise BenchError(self._obituary())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _obituary(self) -> str:
        stderr = self._process.stderr
        words = stderr.read().strip() if stderr else ""
        log = self._server_log()
        return f"the load generator ended: {words}; the server says:\n{log}"

    def _server_log(self) -> str:
        log = self._place.log
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-_LAST_WORDS:]) or "(nothing)"


@contextmanager
def start_load(
    place: Place, *, channels: int | None = None, is_spinning: bool = False
) -> Iterator[Load]:
    """Start a load generator that listens for its server.

    Args:
        place: where.
        channels: the first so many are its guests; None: all.
        is_spinning: it never sleeps while it measures.
    """
    channels = channels or place.channels
    arguments = [
        str(build("load")),
        str(place.sockets),
        str(channels),
        str(place.per_domain),
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
            raise BenchError("the load generator does not listen")
        try:
            yield Load(process, place, channels)
        finally:
            process.kill()
