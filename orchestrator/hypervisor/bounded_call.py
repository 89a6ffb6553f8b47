# SPDX-License-Identifier: Apache-2.0
"""Runs libvirt calls about one domain with a time limit.

A call that needs a QEMU that does not answer (stopped, or in uninterruptible sleep)
blocks for as long as that lasts, and a thread inside libvirt cannot be cancelled. So
another thread makes the calls. After the time limit it is left alone: it ends with the
call, or with the process.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


def call_within(timeout_s: float, call: Callable[[], _Result]) -> _Result:
    """Return what a call returns, or raise what it raises.

    Raises:
        TimeoutError: it did not return in time, and still runs.
    """
    result: Future[_Result] = Future()
    threading.Thread(
        target=_run, args=(call, result), name="libvirt-call", daemon=True
    ).start()
    try:
        return result.result(timeout_s)
    except TimeoutError:
        if result.done():
            return result.result()  # it returned at the last moment
        raise


def _run(call: Callable[[], _Result], result: Future[_Result]) -> None:
    try:
        result.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
        result.set_exception(error)
