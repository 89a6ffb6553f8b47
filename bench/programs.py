# SPDX-License-Identifier: Apache-2.0
"""The benchmark's C programs, compiled when they have changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench.errors import BenchError

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache" / "bench"
_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


def build(name: str) -> Path:
    """Return the program built from `name`.c, compiled if older than its source.

    Raises:
        BenchError: there is no compiler, or it failed.
    """
    source, program = HERE / f"{name}.c", CACHE / name
    newest = max(path.stat().st_mtime for path in (source, HERE / "packet.h"))
    if program.exists() and program.stat().st_mtime > newest:
        return program
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        raise BenchError("no C compiler: install gcc")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Under another name first: the program may be in use by another run.
    fresh = CACHE / f"{name}.{os.getpid()}"
    done = subprocess.run(
        [compiler, *_FLAGS, "-o", str(fresh), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{source} does not compile:\n{done.stderr}")
    fresh.replace(program)
    return program


def compiler_version() -> str:
    """Return the first line of the compiler's version; "-" if there is none."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        return "-"
    done = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=False
    )
    return done.stdout.partition("\n")[0] or "-"
