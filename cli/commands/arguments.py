# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands share, and how they are read."""

# No postponed annotations: typer evaluates them when the command is built.

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from cli.completion import candidates
from cli.framework.failures import as_usage_error
from cli.framework.settings import settings_of
from cli.output.echo import print_json

if TYPE_CHECKING:
    from orchestrator.hypervisor.descriptions import Scope
    from orchestrator.hypervisor.lookup import FoundDomain
    from orchestrator.values.units import KHz

POWER_OFF_NOTE = "Changes will take effect after the domain is fully powered off."
"""The wording of virt-xml."""

DomainArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="Domain id, name or UUID.",
        metavar="DOMAIN",
        autocompletion=candidates.domains,
    ),
]
AllOption: TypeAlias = Annotated[
    bool,
    typer.Option("--all", help="Include domains that are shut off, as JSON does."),
]
OnlyDomainArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="Show only this domain.",
        metavar="[DOMAIN]",
        autocompletion=candidates.domains,
    ),
]
"""For lists; by default they show all domains."""
Connect: TypeAlias = Annotated[
    str,
    typer.Option("--connect", "-c", metavar="URI", help="libvirt URI, as for virsh."),
]
Live: TypeAlias = Annotated[
    bool, typer.Option("--live", help="Change only the running domain.")
]
Config: TypeAlias = Annotated[
    bool, typer.Option("--config", help="Change only the domain's definition.")
]
Current: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--current",
        help="Change the running domain, or the definition if it is shut off.",
    ),
]
MinFrequency: TypeAlias = Annotated[
    str,
    typer.Option(
        "--min", metavar="FREQ", help="Lowest frequency for its vCPUs: 1.2GHz."
    ),
]
MaxFrequency: TypeAlias = Annotated[
    str,
    typer.Option(
        "--max", metavar="FREQ", help="Highest frequency for its vCPUs: 2.4GHz."
    ),
]
Turbo: TypeAlias = Annotated[
    bool | None,
    typer.Option("--turbo/--no-turbo", help="Allow or forbid the turbo frequency."),
]


def uri_of(context: typer.Context, connect: str) -> str:
    """Return the URI to use: the option, the global option, or libvirt's default."""
    from orchestrator.hypervisor.uri import choose_uri

    return choose_uri(connect, settings_of(context).uri)


def scope_of(*, live: bool, config: bool, current: bool) -> "Scope":
    """Return the scope that the options select; by default both, as far as present."""
    from orchestrator.hypervisor.descriptions import Scope

    if current and (live or config):
        raise typer.BadParameter("--current excludes --live and --config")
    if current:
        return Scope.CURRENT
    if live and config:
        return Scope.BOTH
    if live:
        return Scope.LIVE
    return Scope.CONFIG if config else Scope.ALL


def print_domain_json(domain: "FoundDomain", facts: dict[str, object]) -> None:
    """Write the result for one domain as JSON."""
    print_json({"uuid": domain.uuid, "name": domain.name} | facts)


def absolute(path: Path | None) -> Path | None:
    """Make a path absolute: libvirt's daemon has another working directory."""
    return path and path.absolute()


def parse_frequency(text: str) -> "KHz | None":
    """Parse a frequency; None if the option was not given.

    Raises:
        UsageError: the text is not a frequency.
    """
    from orchestrator.values.units import parse_khz

    with as_usage_error():
        return parse_khz(text) if text else None


def parse_channels(text: str) -> frozenset[int] | None:
    """Parse channel numbers; None: one for each vCPU.

    Raises:
        UsageError: the text is not a list of numbers, `all` or `none`.
    """
    from orchestrator.values.cpuset import parse_cpulist

    if text == "all":
        return None
    with as_usage_error():
        return frozenset() if text == "none" else parse_cpulist(text, noun="channel")
