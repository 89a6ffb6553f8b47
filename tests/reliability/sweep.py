# SPDX-License-Identifier: Apache-2.0
"""The points of a daemon's life at which it is killed, or a call fails."""

from __future__ import annotations

import errno
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cli.framework.failures import ExitStatus
from tests.reliability.faults import HANDOFF, Fault, Point, Process
from tests.reliability.programs import PATIENCE_S
from tests.reliability.scene import (
    END,
    PREPARE,
    RELEASE,
    REPLAY,
    RESTORE,
    START,
    TAKE,
    UNDO,
    WRITE,
    Phase,
    Scene,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.reliability.faults import Faults
    from tests.reliability.programs import ForkServer

_LIFE = (START, PREPARE, TAKE, WRITE, RELEASE, PREPARE, TAKE, END)
_STEPS: dict[str, tuple[Phase, ...]] = {
    "start": _LIFE[:1],
    "prepare": _LIFE[:2],
    "take": _LIFE[:3],
    "write": _LIFE[:4],
    "release": _LIFE[:5],
    "prepare again": _LIFE[:6],
    "take again": _LIFE[:7],
    "end": _LIFE,
    "undo": (*_LIFE[:4], UNDO),
    "replay": (*_LIFE[:4], REPLAY),
    "restore": (*_LIFE[:4], RESTORE),
}
"""Each step, with the phases that lead to it; it is the last of them."""
LIFE = tuple(_STEPS)[: len(_LIFE)]
"""The steps of a daemon that no fault meets."""
ERRORS = (
    *(errno.ENOSPC, errno.EIO, errno.EBUSY, errno.EPERM, errno.EMFILE, errno.EINTR),
)
_ENDS_IN_ORDER = (0, ExitStatus.FAILED, ExitStatus.DENIED)
_LASTING = ERRORS[:-1]  # a call is interrupted once
NOT_REACHED = "not reached"
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A fault in a step."""

    step: str
    point: Point
    call: str
    """The call when it was recorded, such as `fsync /tmp/run/restore.json.new`."""

    def __str__(self) -> str:
        point = self.point
        fault = point.fault.name.lower().replace("_", " ")
        if point.error:
            fault += f" with {errno.errorcode[point.error]}"
        place = f"{point.process.name.lower()}'s call {point.at} in '{self.step}'"
        return f"{fault} at {place} ({self.call})"


@dataclass(slots=True)
class Outcome:
    """What a sweep has found."""

    verdicts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def reached(self) -> int:
        """The number of cases whose fault has happened."""
        return self.verdicts.total() - self.verdicts[NOT_REACHED]


class Sweep:
    """Goes through a daemon's life again and again, with one fault each time.

    Synchronization: one thread.
    """

    def __init__(self, server: ForkServer, faults: Faults) -> None:
        self._server = server
        self._faults = faults
        self._recorded: dict[tuple[str, Process], list[str]] = {}

    def stops(self, process: Process, *steps: str) -> list[Case]:
        """Return the points before and after every call of a process in steps."""
        return [
            Case(step, Point(process, number, fault), call)
            for step in steps
            for number, call in enumerate(self._calls(step, process), 1)
            for fault in (Fault.STOP_BEFORE, Fault.STOP_AFTER)
        ]

    def errors(self, process: Process, *steps: str) -> list[Case]:
        """Return every call of a process in steps with every error."""
        return [
            Case(step, Point(process, number, Fault.FAIL, error), call)
            for step in steps
            for number, call in enumerate(self._calls(step, process), 1)
            for error in ERRORS
        ]

    def lasting_errors(self, *steps: str) -> list[Case]:
        """Return main's calls on files in steps, each with one error that lasts."""
        return [
            Case(step, Point(Process.MAIN, number, Fault.FAIL_ONWARDS, error), call)
            for step in steps
            for number, call in enumerate(self._calls_on_files(step), 1)
            for error in (_LASTING[number % len(_LASTING)],)
        ]

    def _calls_on_files(self, step: str) -> list[str]:
        calls = self._calls(step, Process.MAIN)
        return [call for call in calls if not call.endswith(HANDOFF)]

    def _calls(self, step: str, process: Process) -> list[str]:
        if (step, process) not in self._recorded:
            # Of two runs, the calls of the one that makes fewer: most runs make them.
            runs = (self._record(step, process), self._record(step, process))
            for name in runs[0]:
                fewer = min((run[name] for run in runs), key=len)
                self._recorded[name, process] = fewer
        return self._recorded[step, process]

    def _record(self, step: str, process: Process) -> dict[str, list[str]]:
        point = Point(process, 0, Fault.RECORD)
        names = LIFE if step in LIFE else (*LIFE[:4], step)
        calls: dict[str, list[str]] = {}
        with Scene(self._server, self._faults) as scene:
            for name in names:
                scene.reach(_STEPS[name][-1], point)
                calls[name] = self._faults.trace()
        if step == "replay":
            # What follows the journal's end only reads the topology.
            made = calls[step]
            last = max(n for n, call in enumerate(made) if "restore.json" in call)
            del made[last + 1 :]
        return calls

    def run(
        self, cases: Sequence[Case], judge: Callable[[Scene, Case], str]
    ) -> Outcome:
        """Let each fault happen, judge what follows, and count the verdicts.

        A call that a process makes only sometimes, because messages arrive one by one
        or together, is tried three times; otherwise it counts as not reached.
        """
        outcome = Outcome()
        for case in cases:
            outcome.verdicts[self._run_one(case, judge, outcome.failures)] += 1
        return outcome

    def _run_one(
        self, case: Case, judge: Callable[[Scene, Case], str], failures: list[str]
    ) -> str:
        *before, last = _STEPS[case.step]
        for _ in range(_TRIES):
            with Scene(self._server, self._faults) as scene:
                try:
                    scene.complete(*before)
                    if scene.reach(last, case.point):
                        verdict = judge(scene, case)
                        has_trace = "Traceback" in scene.log_text()
                        return verdict + (", with a traceback" if has_trace else "")
                except (AssertionError, TimeoutError) as error:
                    failures.append(f"{case}: {error!r}\n{scene.log_text()}")
                    return "failed"
        return NOT_REACHED


def main_is_killed(scene: Scene, case: Case) -> str:
    """Kill main: the monitor restores governors and frequencies, the next start all."""
    scene.kill_main()
    scene.wait_for_the_monitor_s_end()
    assert scene.is_given_back, scene.differences()
    _recover(scene, case)
    return "restored by the monitor"


def monitor_is_killed(scene: Scene, case: Case) -> str:
    """Kill the monitor: main lives on and restores when it ends."""
    scene.kill_monitor()
    _end(scene, case)
    assert scene.is_original, scene.differences()
    assert not scene.journal.exists()
    return "restored by main"


def both_are_killed(scene: Scene, case: Case) -> str:
    """Kill main and monitor: a start or `vmpower restore` restores everything."""
    scene.kill_both()
    is_original = scene.is_original
    _recover(scene, case)
    return "nothing to restore" if is_original else "restored later"


def call_fails(scene: Scene, case: Case) -> str:
    """The daemon serves and ends in order; what was refused is restored later."""
    if case.step != "end":
        wait_for(lambda: _serves(scene), "it serves", timeout_s=PATIENCE_S)
    _end(scene, case)
    is_original = scene.is_original
    _recover(scene, case)
    return "restored by main" if is_original else "restored later"


def call_of_restoring_fails(scene: Scene, case: Case) -> str:
    """The process ends in order, or serves; what was refused is restored later."""
    if scene.program is None:
        scene.wait_for_the_monitor_s_end()
    else:
        wait_for(
            lambda: scene.is_serving or scene.has_ended,
            "it serves or ends",
            timeout_s=PATIENCE_S,
        )
        scene.main.signal(signal.SIGTERM)
        status = scene.main.wait()
        assert status in _ENDS_IN_ORDER, f"ended with {status}"
    is_original = scene.is_original
    _recover(scene, case)
    return "restored at once" if is_original else "restored later"


def _serves(scene: Scene) -> bool:
    assert not scene.has_ended, "vmpowerd has ended"
    return scene.status()["daemon"]["monitor_pid"] is not None


def _terminate(scene: Scene) -> None:
    scene.main.signal(signal.SIGTERM)
    _wait_for_success(scene)


def _end(scene: Scene, case: Case) -> None:
    # A second SIGTERM would kill a process that has closed its event loop.
    if case.step != "end":
        scene.main.signal(signal.SIGTERM)
    _wait_for_success(scene)


def _wait_for_success(scene: Scene) -> None:
    status = scene.main.wait()
    assert status == 0, f"vmpowerd ended with {status}"


def _recover(scene: Scene, case: Case) -> None:
    """Start the daemon or `vmpower restore`, in turn, and check the tree."""
    scene.faults.disarm()
    scene.kill_both()
    scene.unplug()
    if case.point.at % 2:
        scene.launch_restore()
        status = scene.main.wait()
        assert status == 0, f"vmpower restore ended with {status}"
    else:
        scene.complete(START)
        _terminate(scene)
    if case.point.error:
        assert not scene.effective_differences(), scene.effective_differences()
    else:
        assert scene.is_original, scene.differences()
    assert not scene.journal.exists()
