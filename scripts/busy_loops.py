# SPDX-License-Identifier: Apache-2.0
"""Processes that keep CPUs busy, for tests under load."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOP = """\
import os, sys
parent = int(sys.argv[1])
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[list[int]]:
    """Run loops at the usual priority; yield their process IDs.

    They end with this process, too, however it ends.
    """
    command = [sys.executable, "-I", "-S", "-c", _LOOP, str(os.getpid())]
    with contextlib.ExitStack() as ending:
        loops = []
        for _ in range(count):
            loop = subprocess.Popen(command)
            ending.callback(loop.wait)
            ending.callback(loop.kill)
            loops.append(loop.pid)
        yield loops
