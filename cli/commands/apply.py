# SPDX-License-Identifier: Apache-2.0
"""`vmpower apply`: JSON messages written for DPDK's vm_power_manager, from a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.framework.failures import ExitStatus, UsageError
from cli.framework.group import new_app
from cli.framework.session import connect
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import echo, echo_error, print_json
from orchestrator.control import BODY_LIMIT_BYTES
from orchestrator.control.documents import OutcomeList

app = new_app()


@app.command()
def apply(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            help="File to read, or '-' for standard input.", metavar="FILE|-"
        ),
    ],
    cpu: Annotated[
        int | None,
        typer.Option(
            "--cpu",
            min=0,
            help="Apply the messages as if written to this CPU's FIFO.",
            metavar="N",
        ),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Apply JSON messages written for DPDK's vm_power_manager.

    A frequency that they set is an override and lasts as one of 'vmpower cpu set'. A
    policy that they create lasts as one of 'vmpower policy set'.
    """
    settings = settings_of(context, output)
    text = _read(file)
    with connect(settings, is_changing=True) as client:
        done = client.instruct(text, cpu)
    if settings.output is Output.JSON:
        print_json(done)
    else:
        _report(done)
    if not all(outcome["done"] for outcome in done["outcomes"]):
        raise typer.Exit(ExitStatus.FAILED)


def _report(done: OutcomeList) -> None:
    for outcome in done["outcomes"]:
        if outcome["done"]:
            echo(outcome["text"])
        else:
            # A daemon of another version may not report it.
            echo_error(outcome["text"], outcome.get("hint", ""))


def _read(file: str) -> str:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(BODY_LIMIT_BYTES + 1)
        else:
            with Path(file).open("rb") as source:
                data = source.read(BODY_LIMIT_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: byte {error.start} is not UTF-8 text") from error
    if len(data) > BODY_LIMIT_BYTES:
        raise UsageError(
            f"{file}: more than {BODY_LIMIT_BYTES} bytes",
            hint="split its messages into several files",
        )
    if not text.strip():
        raise UsageError(f"{file}: no messages", hint="expected JSON objects")
    return text
