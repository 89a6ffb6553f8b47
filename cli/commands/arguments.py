"""Arguments that several commands take, with what completes them."""

from typing import Annotated, TypeAlias

import typer

from cli.completion import words

DomainArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="Id, name or UUID.", metavar="DOMAIN", autocompletion=words.domains
    ),
]

OnlyDomainArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="Only of this domain.",
        metavar="[DOMAIN]",
        autocompletion=words.domains,
    ),
]
"""For lists; without it they are of all domains."""
