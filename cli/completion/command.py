# SPDX-License-Identifier: Apache-2.0
"""`vmpower completion`: shell completion scripts."""

# No postponed annotations: typer evaluates them when the command is built.

from enum import StrEnum
from typing import Annotated

import typer

from cli.framework.group import COMPLETION_VARIABLE, new_app
from cli.framework.typer_compat import get_completion_script

app = new_app()

PROGRAM = "vmpower"
_ZSH_REGISTER = "compdef _vmpower_completion vmpower"
_ZSH_RUN_OR_REGISTER = f"""\
if [[ "$funcstack[1]" == _{PROGRAM} ]]; then
  _vmpower_completion "$@"  # called as a file in $fpath
else
  {_ZSH_REGISTER}
fi"""


class Shell(StrEnum):
    """Shells with a completion script."""

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
        typer.Argument(
            metavar="bash|zsh|fish", help="Shell to generate the script for."
        ),
    ],
) -> None:
    """Print a shell completion script."""
    script = get_completion_script(
        prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE, shell=shell.value
    )
    # From $fpath, typer's script would complete nothing the first time.
    typer.echo(script.replace(_ZSH_REGISTER, _ZSH_RUN_OR_REGISTER))
