# SPDX-License-Identifier: Apache-2.0
"""The measured programs start from bytecode, as installed ones do.

Installing a package compiles it. A checkout is compiled at its first start, and at
every start where `PYTHONDONTWRITEBYTECODE` is set. That takes half as much CPU time as
connecting 4,000 channels, and would be counted as the daemon's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from bench.programs import CACHE, HERE

if TYPE_CHECKING:
    from pathlib import Path

_PACKAGES = ("bench", "cli", "domain_templates", "orchestrator")
_IMPORT = "import bench.scale, cli.app, orchestrator.daemon"
"""Compiles what these import from other distributions."""


def provide(directory: Path = CACHE / "bytecode") -> None:
    """Compile what has changed, for all processes that are started from now on.

    Raises:
        subprocess.CalledProcessError: it does not compile.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory)
    for arguments in (["-m", "compileall", "-q", *_PACKAGES], ["-c", _IMPORT]):
        subprocess.run([sys.executable, *arguments], cwd=HERE.parent, check=True)
