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
    CACHE.mkdir(parents=True, exist_ok=True)
    compile_program(source, program)
    return program


def compile_program(source: Path, program: Path, *flags: str) -> None:
    """Compile one file of C; the program, which may be in use, is replaced at once.

    Raises:
        BenchError: there is no compiler, or it failed.
    """
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        raise BenchError("no C compiler: install gcc")
    fresh = program.with_name(f"{program.name}.{os.getpid()}")
    done = subprocess.run(
        [compiler, *_FLAGS, *flags, "-o", str(fresh), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{source} does not compile:\n{done.stderr}")
    fresh.replace(program)


def compiler_version() -> str:
    """Return the first line of the compiler's version; "-" if there is none."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        return "-"
    done = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=False
    )
    return done.stdout.partition("\n")[0] or "-"
