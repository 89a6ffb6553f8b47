"""`vmpower apply`: what scripts for DPDK's vm_power_manager say, from a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.framework.failures import ExitStatus, UsageError, tell
from cli.framework.group import new_app
from cli.framework.session import connect, write_json
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import say
from orchestrator.control import BODY_LIMIT_BYTES
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
            say(outcome["text"])
        else:
            tell(outcome["text"])


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
        raise UsageError(f"{file} is no text: {error}") from error
    if len(data) > BODY_LIMIT_BYTES:
        raise UsageError(
            f"{file}: more than {BODY_LIMIT_BYTES} bytes",
            hint="apply its messages in several files",
        )
    if not text.strip():
        raise UsageError(f"{file}: no messages", hint="write JSON objects")
    return text
