"""`vmpower completion`: scripts that make shells complete our commands."""

# No postponed annotations here: typer reads them when the command is built.

from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script

from cli.framework.group import COMPLETION_VARIABLE, new_app

app = new_app()

PROGRAM = "vmpower"
_ZSH_REGISTER = "compdef _vmpower_completion vmpower"
_ZSH_EITHER_WAY = f"""\
if [[ "$funcstack[1]" == _{PROGRAM} ]]; then
  _vmpower_completion "$@"  # a file in $fpath is the function itself
else
  {_ZSH_REGISTER}
fi"""


class Shell(StrEnum):
    """Shells that we have scripts for."""

    BASH = "bash"
    """4.4 and later."""
    ZSH = "zsh"
    """5 and later."""
    FISH = "fish"
    """3 and later."""


@app.command()
def completion(
    shell: Annotated[
        Shell,
        typer.Argument(metavar="bash|zsh|fish", help="The shell that shall complete."),
    ],
) -> None:
    """Print a script with which a shell completes what you type."""
    script = get_completion_script(
        prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE, shell=shell.value
    )
    # In $fpath, typer's script would only register itself at the first completion.
    typer.echo(script.replace(_ZSH_REGISTER, _ZSH_EITHER_WAY))
