# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import pytest

from orchestrator.errors import HypervisorError
from orchestrator.hypervisor.bounded_call import call_within

ENOUGH_S = 60.0


def fail() -> None:
    raise HypervisorError("refused")


def test_the_result_and_the_error_of_a_call_are_its_caller_s() -> None:
    assert call_within(ENOUGH_S, lambda: 7) == 7
    with pytest.raises(HypervisorError, match="refused"):
        call_within(ENOUGH_S, fail)


def test_a_call_that_does_not_return_is_left_alone() -> None:
    release, has_ended = threading.Event(), threading.Event()

    def call() -> None:
        release.wait(ENOUGH_S)
        has_ended.set()

    with pytest.raises(TimeoutError):
        call_within(0.01, call)
    assert not has_ended.is_set()
    release.set()
    assert has_ended.wait(ENOUGH_S)
