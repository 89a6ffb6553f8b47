"""Where a new domain's vCPUs go: as the operator says, or as is proposed and agreed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from cli.framework.failures import usage
from cli.output.echo import say
from orchestrator.errors import VmpowerError
from orchestrator.values.cpuset import format_cpulist, name_all, parse_cpulist
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from pathlib import Path

    from domain_templates.pinning import Proposal

_FLOATING = (
    "its vCPUs float, so that their requests will be refused;"
    " give --pin, or use 'vmpower domain pin' later"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator said about CPUs."""

    pin: str
    """CPUs, `none`, or nothing: propose some."""
    emulator_pin: str
    node: int | None
    uri: str
    sysfs_root: Path
    is_defined: bool
    """Whether a domain is about to be made of it."""
    is_agreed: bool
    """Whether the operator agreed beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the domain goes."""

    pins: tuple[PCpu, ...] = ()
    emulator_pins: frozenset[PCpu] = frozenset()
    node: int | None = None


def place(wish: Wish, vcpus: int) -> Placement:
    """Decide; a proposal is explained, and made true only if somebody agrees.

    Raises:
        ConfigError: what the operator said is no list of CPUs.
        typer.Abort: the operator did not agree.
    """
    with usage():
        emulator = parse_cpulist(wish.emulator_pin)
    said = frozenset(map(PCpu, emulator))
    if wish.pin:
        pins = () if wish.pin == "none" else parse_pins(wish.pin)
        if not pins:
            _say(f"hint: {_FLOATING}")
        return Placement(pins=pins, emulator_pins=said, node=wish.node)
    try:
        proposal = _propose(wish, vcpus)
    except VmpowerError as error:
        _say(f"hint: no pinning is proposed: {error}\nhint: {_FLOATING}")
        return Placement(emulator_pins=said, node=wish.node)
    _explain(proposal)
    if not _is_agreed(wish):
        return Placement(emulator_pins=said, node=wish.node)
    return Placement(
        pins=proposal.pins,
        emulator_pins=said or proposal.emulator,
        node=proposal.node if wish.node is None else wish.node,
    )


def parse_pins(text: str) -> tuple[PCpu, ...]:
    """Read one CPU for each vCPU, in the order in which they are written.

    Raises:
        ConfigError: it is no list of CPUs.
    """
    # Term by term, because 5,3 means that vCPU 0 is on CPU 5.
    terms = text.split(",") if text.strip() else []
    with usage():
        return tuple(PCpu(cpu) for term in terms for cpu in sorted(parse_cpulist(term)))


def _propose(wish: Wish, vcpus: int) -> Proposal:
    from cli.commands.cpu_occupancy import read_host
    from domain_templates.pinning import propose
    from orchestrator.hypervisor.operator import OperatorConnection

    with OperatorConnection(wish.uri) as connection:
        host = read_host(connection, wish.sysfs_root)
    return propose(host, vcpus, wish.node)


def _explain(proposal: Proposal) -> None:
    vcpus = name_all("vCPU", range(len(proposal.pins)))
    # In the order of the vCPUs, as --pin takes them.
    line = f"pinning: {vcpus} to {','.join(map(str, proposal.pins))}"
    if proposal.emulator:
        line += f", QEMU's own threads to {format_cpulist(proposal.emulator)}"
    _say(line)
    for reason in proposal.reasons:
        _say(f"  {reason}")
    for warning in proposal.warnings:
        _say(f"  but {warning}")


def _is_agreed(wish: Wish) -> bool:
    if wish.is_agreed or not wish.is_defined:
        return True
    if sys.stdin.isatty() and sys.stderr.isatty():
        # Not typer's own question, which leaves a space in what we print.
        typer.echo("Pin it so? [y/N] ", nl=False, err=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise typer.Abort
        return True
    _say("hint: this is a proposal; agree with --yes, or choose with --pin")
    _say(f"hint: {_FLOATING}")
    return False


def _say(line: str) -> None:
    say(line, err=True)
