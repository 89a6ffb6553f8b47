# SPDX-License-Identifier: Apache-2.0
"""`vmpower try`."""

# No postponed annotations: typer evaluates them when the command is built.

import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.output.echo import echo
from cli.trial.trial import CPUS, Trial
from orchestrator.power.simulated_drivers import (
    DEFAULT_DRIVER,
    SIMULATED_DRIVERS,
    find_simulated,
)

app = new_app()

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COMMANDS = (
    ("vmpower status", "the guests, their CPUs and frequencies"),
    ("vmpower top", "the same, live; ? shows the keys"),
    ("vmpower cpu set 2 1.2GHz", "the guest fw cannot have more now"),
    ("vmpower channel list fw", "and its requests are refused: why"),
    ("vmpower cpu release 2", "as before"),
    ("vmpower energy show", "what they draw, and what is saved"),
    ("vmpower events", "what has happened"),
)
"""What to type, in this order, and what it shows."""


def _list_drivers() -> list[tuple[str, str]]:
    return [(name, driver.summary) for name, driver in SIMULATED_DRIVERS.items()]


@app.command("try")
def run_trial(
    *,
    driver: Annotated[
        str,
        typer.Option(
            "--driver",
            metavar="NAME",
            help="Scaling driver of the CPUs; 'vmpower simulate --help' lists them.",
            autocompletion=_list_drivers,
        ),
    ] = DEFAULT_DRIVER,
) -> None:
    """Try vmpower with simulated CPUs and guests.

    Runs a daemon of its own with two guests until Ctrl-C, and prints what to type in
    another terminal. Needs neither root nor libvirtd, QEMU or cpufreq, and changes
    nothing on this host. The daemon and the packets between it and the guests are real;
    frequencies, watts and the work of the guests are not. Ctrl-C is its normal end
    (exit status 0), and removes its files; what is left after 'kill -9' is removed at
    the next start.

    VMPOWER_RUN_DIR, or --run-dir, selects its daemon. Commands that change domains
    ('domain add', 'domain set', ...) use the host's libvirt, which does not have these
    guests.
    """
    with as_usage_error():
        find_simulated(driver)
    with contextlib.suppress(KeyboardInterrupt), _interrupts():
        echo("starting a daemon with simulated CPUs and guests ...")
        with Trial(driver=driver) as trial, _undisturbed_end():
            echo(_describe(trial))
            trial.wait()
    echo("stopped, everything was removed")


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """Let every signal that ends the command do what Ctrl-C does."""
    for number in _ENDING:
        signal.signal(number, signal.default_int_handler)
    yield


@contextlib.contextmanager
def _undisturbed_end() -> Iterator[None]:
    """Ignore further signals once the end has begun."""
    try:
        yield
    finally:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)


def _describe(trial: Trial) -> str:
    width = max(len(command) for command, _ in _COMMANDS)
    typed = [f"  {command:<{width}}  # {what}" for command, what in _COMMANDS]
    path = _own_directory()
    if path is not None:
        typed.insert(0, f"  export PATH={shlex.quote(str(path))}:$PATH")
    return "\n".join(
        (
            f"vmpowerd serves two simulated guests on {CPUS} simulated CPUs: fw, which",
            "polls, and web. Watts are modelled, and nothing on this host is changed.",
            "",
            "Type in another terminal:",
            f"  export VMPOWER_RUN_DIR={shlex.quote(str(trial.run_dir))}",
            *typed,
            "",
            f"The daemon's log is {trial.log}. Ctrl-C ends it and removes everything.",
        )
    )


def _own_directory() -> Path | None:
    """Return the directory of this program; None: a shell finds it by its name."""
    program = Path(sys.argv[0])
    if program.name != "vmpower" or not os.access(program, os.X_OK):
        return None
    found = shutil.which("vmpower")
    if found is not None and Path(found).samefile(program):
        return None
    return program.parent.absolute()
