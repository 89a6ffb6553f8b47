# SPDX-License-Identifier: Apache-2.0
"""Run the tests: what `make test` does.

Without arguments: all of them. Tests with guests (marked ``rig``) run beside those
without, because they mostly wait for these; their output is shown second, and is in
``.cache/rig.log`` as it arises. Tests in labs (marked ``lab``) follow those without
guests; their output is shown third, and is in ``.cache/lab.log``. Coverage of all
together is compared with its limits.

With arguments: pytest with these arguments, without coverage.

``--stressed`` runs them beside eight busy loops, more of them side by side than usual:
a machine at load 15.

Exit status: 0 if everything passed, else that of the first part that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scripts import pure_coverage
from scripts.busy_loops import busy_loops

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

CACHE = Path(__file__).parent.parent / ".cache"
BUSY_LOOPS = 8
STRESSED_WORKERS = 4
"""So many tests run side by side then, however few CPUs there are."""

_SHOW_EVERY_S = 0.2


class Part(NamedTuple):
    """Some of the tests."""

    name: str
    """As messages name them."""
    marker: str
    """What selects them."""
    file: str
    """Name of the files for what they cover and for their output."""
    workers: tuple[str, ...]
    """Options of pytest for running them side by side."""


_SIDE_BY_SIDE = ("-n", "auto", "--maxprocesses", "4")
PURE = Part("tests without guests", "not rig", "pure", _SIDE_BY_SIDE)
# In one process: they share a libvirtd.
GUESTS = Part("tests with guests", "rig and not lab", "rig", ())
LABS = Part("tests in labs", "lab", "lab", (*_SIDE_BY_SIDE, "--dist", "worksteal"))
PARTS = (PURE, GUESTS, LABS)


def main(arguments: Sequence[str]) -> int:
    """Run the tests and return the exit status."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--stressed", action="store_true")
    options, rest = parser.parse_known_args(arguments)
    # The terminal sends it to pytest, too, which ends and shows what it has.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if options.stressed:
        os.environ["PYTEST_XDIST_AUTO_NUM_WORKERS"] = str(STRESSED_WORKERS)
    with busy_loops(BUSY_LOOPS if options.stressed else 0):
        if rest:
            with _pytest(rest) as run:
                return run.wait()
        return run_parts() or combine_coverage() or pure_coverage.main()


def run_parts(directory: Path = CACHE) -> int:
    """Run all parts, show one after the other, return the exit status.

    Labs wait for the tests without guests: both keep all CPUs busy.

    Args:
        directory: where coverage and output are kept.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _start(GUESTS, directory, _log(GUESTS, directory)) as guests:
        with _start(PURE, directory) as pure:
            pure.wait()
        with _start(LABS, directory, _log(LABS, directory)) as labs:
            _show(_log(GUESTS, directory), guests)
            _show(_log(LABS, directory), labs)
    runs = {PURE: pure, GUESTS: guests, LABS: labs}
    for part, run in runs.items():
        end = f"failed with status {run.returncode}" if run.returncode else "passed"
        print(f"{part.name}: {end}", flush=True)  # noqa: T201 - this is a command
    return next((run.returncode for run in runs.values() if run.returncode), 0)


def combine_coverage(directory: Path = CACHE) -> int:
    """Combine what all parts cover, report it, return the exit status."""
    files = [_coverage_file(part, directory) for part in PARTS]
    for step in (["combine", "--quiet", *files], ["report"]):
        command = [sys.executable, "-m", "coverage", *step]
        status = subprocess.run(command, check=False).returncode
        if status:
            return status
    return 0


def _coverage_file(part: Part, directory: Path) -> str:
    return str(directory / "coverage" / part.file)


def _log(part: Part, directory: Path) -> Path:
    return directory / f"{part.file}.log"


def _start(
    part: Part, directory: Path, log: Path | None = None
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    # The limits are those of all parts together.
    coverage = ("--cov", "--cov-report=", "--cov-fail-under=0")
    # Not COVERAGE_FILE, which tests that measure something themselves would inherit.
    environment = {"VMPOWER_COVERAGE_FILE": _coverage_file(part, directory)}
    arguments = ("-m", part.marker, *part.workers, *coverage)
    return _pytest(arguments, environment, log)


@contextlib.contextmanager
def _pytest(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start pytest; it has ended afterwards.

    Args:
        arguments: its arguments.
        environment: variables, in addition to those of this process.
        log: file for what it prints; None: the output of this process.
    """
    with log.open("wb") if log else contextlib.nullcontext() as output:
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=output,
        )
    try:
        yield run
    finally:
        run.terminate()
        run.wait()


def _show(log: Path, run: subprocess.Popen[bytes]) -> None:
    """Print what a process writes to a file, until it ends."""
    with log.open("rb") as text:
        is_over = False
        while not is_over:
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(_SHOW_EVERY_S)
            is_over = run.poll() is not None
            sys.stdout.buffer.write(text.read())
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
