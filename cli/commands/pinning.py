# SPDX-License-Identifier: Apache-2.0
"""Chooses host CPUs for the vCPUs of a new domain: given ones, or a proposal."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import typer

from cli.framework.failures import as_usage_error
from cli.output.echo import echo
from orchestrator.errors import ConfigError, VmpowerError
from orchestrator.values.cpuset import name_all, name_cpus, parse_cpulist
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from pathlib import Path

    from cli.commands.domain_add_options import AddOptions
    from cli.output.echo import Hints
    from domain_templates.pinning import Proposal

_NOT_PINNED = (
    "its vCPUs are not pinned, so their requests will be refused;"
    " use --pin, or 'vmpower domain pin' later"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinningOptions:
    """The options of `domain add` that choose CPUs."""

    pin: str
    """CPUs, `none`, or empty: propose some."""
    emulator_pin: str
    node: int | None
    uri: str
    sysfs_root: Path
    is_defining: bool
    """Whether the domain will be defined, and not only printed."""
    is_accepted: bool
    """Whether a proposal is accepted without a question."""

    @classmethod
    def of(cls, options: AddOptions, uri: str) -> Self:
        """Select them from all options."""
        return cls(
            pin=options.pin.strip(),
            emulator_pin=options.emulator_pin,
            node=options.numa_node,
            uri=uri,
            sysfs_root=options.sysfs_root,
            is_defining=options.is_defining,
            is_accepted=options.yes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Host CPUs for a domain."""

    pins: tuple[PCpu, ...] = ()
    """One for each vCPU; empty: not pinned."""
    emulator_pins: frozenset[PCpu] = frozenset()
    node: int | None = None


def choose_placement(options: PinningOptions, vcpus: int, hints: Hints) -> Placement:
    """Return the given CPUs, or a proposal if the user accepts it.

    Args:
        options: for the choice.
        vcpus: their number.
        hints: gets why vCPUs are not pinned.

    Raises:
        UsageError: an option is not a list of CPUs.
        ConfigError: the proposal needs a confirmation, and there is no terminal.
        typer.Abort: the user rejected the proposal.
    """
    with as_usage_error():
        emulator = frozenset(map(PCpu, parse_cpulist(options.emulator_pin)))
    if options.pin:
        pins = () if options.pin == "none" else parse_pins(options.pin)
        if not pins and not _why_unmanaged(options.sysfs_root):
            hints.add(_NOT_PINNED)
        for cpu, count in Counter(pins).items():
            if count > 1:
                hints.add(f"{count} vCPUs share CPU {cpu}: give each one its own")
        return Placement(pins=pins, emulator_pins=emulator, node=options.node)
    proposal = _find_proposal(options, vcpus, hints)
    if proposal is None:
        return Placement(emulator_pins=emulator, node=options.node)
    _explain(proposal)
    _confirm(options)
    return Placement(
        pins=proposal.pins,
        emulator_pins=emulator or proposal.emulator,
        node=proposal.node if options.node is None else options.node,
    )


def parse_pins(text: str) -> tuple[PCpu, ...]:
    """Parse one CPU for each vCPU, in the order of the vCPUs.

    Raises:
        UsageError: the text is not a list of CPUs.
    """
    # Term by term: in 5,3 vCPU 0 is on CPU 5.
    terms = text.split(",") if text.strip() else []
    with as_usage_error():
        return tuple(PCpu(cpu) for term in terms for cpu in sorted(parse_cpulist(term)))


def _find_proposal(
    options: PinningOptions, vcpus: int, hints: Hints
) -> Proposal | None:
    """Return a proposal; None: there is none, and a hint says why."""
    reason = _why_unmanaged(options.sysfs_root)
    if reason:
        hints.add(f"no pinning proposed: no frequency can be set: {reason}")
        return None
    try:
        return _propose(options, vcpus)
    except VmpowerError as error:
        hints.add(f"no pinning proposed: {error}")
        hints.add(_NOT_PINNED)
        return None


def _why_unmanaged(sysfs_root: Path) -> str:
    """Return why no frequency of this host can be set; empty: some can be set."""
    from orchestrator.power.cpus import read_host_cpus
    from orchestrator.power.sysfs import CpuTree

    try:
        cpus = read_host_cpus(CpuTree(sysfs_root))
    except VmpowerError as error:
        return str(error)
    if any(cpu.group is not None for cpu in cpus):
        return ""
    return next((cpu.unmanaged for cpu in cpus if cpu.unmanaged), "no usable CPU")


def _propose(options: PinningOptions, vcpus: int) -> Proposal:
    from cli.commands.cpu_occupancy import read_host
    from domain_templates.pinning import propose
    from orchestrator.hypervisor.operator import OperatorConnection

    with OperatorConnection(options.uri) as connection:
        host = read_host(connection, options.sysfs_root)
    return propose(host, vcpus, options.node)


def _explain(proposal: Proposal) -> None:
    vcpus = name_all("vCPU", range(len(proposal.pins)))
    # In the order of the vCPUs, as --pin expects them.
    cpus = ",".join(map(str, proposal.pins))
    line = f"proposed pinning: {vcpus} to CPU{'s' if ',' in cpus else ''} {cpus}"
    if proposal.emulator:
        line += f", emulator threads to {name_cpus(proposal.emulator)}"
    _echo(line)
    for reason in proposal.reasons:
        _echo(f"  {reason}")
    for warning in proposal.warnings:
        _echo(f"  warning: {warning}")


def _confirm(options: PinningOptions) -> None:
    """Ask whether to use a proposal, if the domain will be defined.

    What is defined must be what would be printed, so a script has to decide.

    Raises:
        ConfigError: there is no terminal to ask on.
        typer.Abort: the user rejected the proposal.
    """
    if options.is_accepted or not options.is_defining:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            "the proposed pinning is not confirmed",
            hint="accept it with --yes, or choose host CPUs with --pin CPUS or"
            " --pin none",
        )
    # Not typer.confirm, which writes a space to stdout.
    typer.echo("Use this pinning? [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Abort


def _echo(line: str) -> None:
    echo(line, err=True)
