# SPDX-License-Identifier: Apache-2.0
"""Compiles the C programs of guests, when they are first needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from examples.guests.cache import GuestError, cached, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TALKER_SOURCE = Path(__file__).with_name("talker.c")


def compile_program(
    source: Path, *, options: Iterable[str] = (), libraries: Iterable[str] = ()
) -> Path:
    """Compile one C file; cached by source and compiler command.

    Args:
        source: the C file.
        options: additional compiler options, such as ``-static``.
        libraries: pkg-config packages, such as ``libdpdk``, or linker options, such as
            ``-lm``.

    Raises:
        GuestError: no compiler, no such library, or an error in the source.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise GuestError("no C compiler found: install gcc (or run make setup)")
    command = [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
    command += [*options, str(source)]
    for library in libraries:
        if library.startswith("-"):
            command.append(library)
        else:
            command += _run(["pkg-config", "--cflags", "--libs", library]).split()

    def make(target: Path) -> None:
        _run([*command, "-o", str(target)])

    name = digest([source.read_bytes(), *command])
    return cached(f"{source.stem}-{name}", make)


def talker() -> Path:
    """Return the scripted guest program; ``talker.c`` documents its statements."""
    return compile_program(TALKER_SOURCE, options=["-static", "-pthread"])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuestError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
