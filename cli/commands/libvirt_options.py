"""What the commands share that act on libvirt with the operator's own rights."""

# No postponed annotations here: typer reads them when the command is built.

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from cli.framework.failures import usage
from cli.framework.settings import settings_of

if TYPE_CHECKING:
    from orchestrator.hypervisor.descriptions import Scope
    from orchestrator.hypervisor.operator import FoundDomain
    from orchestrator.values.units import KHz

POWER_OFF_NOTE = "Changes will take effect after the domain is fully powered off."
"""virsh's and virt-xml's words."""

Connect: TypeAlias = Annotated[
    str,
    typer.Option("--connect", "-c", metavar="URI", help="libvirt, as virsh takes it."),
]
Live: TypeAlias = Annotated[
    bool, typer.Option("--live", help="Only the running domain.")
]
Config: TypeAlias = Annotated[
    bool, typer.Option("--config", help="Only its definition.")
]
Current: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--current", help="The running domain; of one that is off, its definition."
    ),
]


def uri_of(context: typer.Context, connect: str) -> str:
    """The option, then the option before the command, then libvirt's own variable."""
    from orchestrator.hypervisor.uri import choose_uri

    return choose_uri(connect, settings_of(context).uri)


def scope_of(*, live: bool, config: bool, current: bool) -> "Scope":
    """What the options mean together; none of them: both, as far as they are there."""
    from orchestrator.hypervisor.descriptions import Scope

    if current and (live or config):
        raise typer.BadParameter("--current goes with neither --live nor --config")
    if current:
        return Scope.CURRENT
    if live and config:
        return Scope.BOTH
    if live:
        return Scope.LIVE
    return Scope.CONFIG if config else Scope.ALL


def tell_json(domain: "FoundDomain", facts: dict[str, object]) -> None:
    """Write what became of a domain, for programs."""
    typer.echo(
        json.dumps({"schema": 1, "uuid": domain.uuid, "name": domain.name} | facts)
    )


def absolute(path: Path | None) -> Path | None:
    """Make a path that means the same to libvirt's daemon, which works elsewhere."""
    return path and path.absolute()


def parse_clock(text: str) -> "KHz | None":
    """Read a clock; None: nothing was said.

    Raises:
        UsageError: the text is no frequency.
    """
    from orchestrator.values.units import parse_khz

    with usage():
        return parse_khz(text) if text else None


def parse_numbers(text: str) -> frozenset[int] | None:
    """Read which channels are meant; None: one for each vCPU."""
    from orchestrator.values.cpuset import parse_cpulist

    if text == "all":
        return None
    with usage():
        return frozenset() if text == "none" else parse_cpulist(text, noun="channel")
