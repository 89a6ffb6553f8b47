"""`vmpower apply`: what scripts for DPDK's vm_power_manager say, from a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.failures import ExitStatus, UsageError, tell
from cli.group import new_app
from cli.session import connect, write_json
from cli.settings import Output, OutputOption, settings_of
from orchestrator.control.documents import OutcomeList

app = new_app()


@app.command()
def apply(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(help="A file, or '-' for the input.", metavar="FILE|-")
    ],
    cpu: Annotated[
        int | None,
        typer.Option(
            "--cpu", min=0, help="As through the FIFO of this CPU.", metavar="N"
        ),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Do what JSON messages for DPDK's vm_power_manager ask for.

    A clock that they set stays until 'vmpower cpu release'; a policy that they create
    is one of 'vmpower policy list'.
    """
    settings = settings_of(context, output)
    text = _read(file)
    with connect(settings, is_changing=True) as client:
        done = client.instruct(text, cpu)
    if settings.output is Output.JSON:
        write_json(done)
    else:
        _tell(done)
    if not all(outcome["done"] for outcome in done["outcomes"]):
        raise typer.Exit(ExitStatus.FAILED)


def _tell(done: OutcomeList) -> None:
    for outcome in done["outcomes"]:
        if outcome["done"]:
            typer.echo(outcome["text"])
        else:
            tell(outcome["text"])


def _read(file: str) -> str:
    try:
        if file == "-":
            text = sys.stdin.read()
        else:
            text = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no text: {error}") from error
    if not text.strip():
        raise UsageError(f"{file}: no messages", hint="write JSON objects")
    return text
