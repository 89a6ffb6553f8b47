# SPDX-License-Identifier: Apache-2.0
"""Starts vmpowerd and vmpower in milliseconds: forks a process that has imported them.

A sweep starts thousands of daemons, and the imports of each would take half a second.
The server reads a line of JSON for each request, and answers with one.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import traceback
from typing import NoReturn

import cli.__main__
import cli.commands.restore
import orchestrator.__main__
import orchestrator.daemon

_PR_SET_PDEATHSIG = 1
_ENTRIES = {"vmpowerd": orchestrator.__main__.entry, "vmpower": cli.__main__.main}


def _serve() -> None:
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer: int | None = _start(request["start"], request["log"])
        else:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer


def _start(arguments: list[str], log: str) -> int:
    pid = os.fork()
    if not pid:
        _run(arguments, log)
    return pid


def _run(arguments: list[str], log: str) -> NoReturn:
    status: object = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = arguments
        _ENTRIES[arguments[0]]()
    except SystemExit as error:
        status = error.code or 0
    except Exception:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    _serve()
