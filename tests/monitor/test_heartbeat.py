# SPDX-License-Identifier: Apache-2.0
"""Which processes hang, and which only wait for a CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.monitor.client.heartbeat import (
    HUNG_AFTER_S,
    SUSPECT_S,
    Heartbeat,
    ProcessSample,
    sample_process,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def heartbeat() -> Heartbeat:
    heartbeat = Heartbeat()
    assert not heartbeat.is_hung(1, ProcessSample("R", 0.0), 0.0)
    return heartbeat


def beats_until_hung(
    heartbeat: Heartbeat, state: str, cpu_share: float, *, most: int = 1_000
) -> int | None:
    """Return the number of beats without progress; None: it is never hung."""
    for beat in range(1, most):
        now_s = beat * SUSPECT_S
        if heartbeat.is_hung(1, ProcessSample(state, now_s * cpu_share), now_s):
            return beat
    return None


@pytest.mark.parametrize("state", ["T", "t", "S", "D"])
def test_a_process_that_does_not_want_to_run_hangs(
    heartbeat: Heartbeat, state: str
) -> None:
    assert beats_until_hung(heartbeat, state, 0.0) == HUNG_AFTER_S / SUSPECT_S


def test_an_endless_loop_is_charged_with_its_cpu_time(heartbeat: Heartbeat) -> None:
    beats = beats_until_hung(heartbeat, "R", 0.5)
    assert beats == 2 * HUNG_AFTER_S / SUSPECT_S


def test_a_process_without_a_cpu_does_not_hang(heartbeat: Heartbeat) -> None:
    assert beats_until_hung(heartbeat, "R", 0.0) is None


def test_progress_ends_a_suspicion(heartbeat: Heartbeat) -> None:
    for beat in range(1, 100):
        progress = beat // 2
        sample = ProcessSample("S", 0.0)
        assert not heartbeat.is_hung(progress, sample, beat * SUSPECT_S)


def test_a_time_in_which_main_did_not_run_counts_as_little(
    heartbeat: Heartbeat,
) -> None:
    # After the resume of a frozen machine or control group.
    assert not heartbeat.is_hung(1, ProcessSample("S", 0.0), 3_600.0)


@pytest.fixture
def child() -> Iterator[int]:
    """A process with a name that needs care."""
    program = (
        "import ctypes, sys; sum(range(5_000_000));"
        "ctypes.CDLL(None).prctl(15, b'a) R (b', 0, 0, 0);"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_the_state_and_the_cpu_time_are_the_kernel_s(child: int) -> None:
    wait_for(lambda: sample_process(child).state == "S", "it waits for input")
    assert 0 < sample_process(child).cpu_s < 10
    os.kill(child, signal.SIGSTOP)
    wait_for(lambda: sample_process(child).state == "T", "it is stopped")


def test_an_unknown_process_is_an_error(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with pytest.raises(FileNotFoundError):
        sample_process(child)
