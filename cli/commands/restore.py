# SPDX-License-Identifier: Apache-2.0
"""`vmpower restore`: restore what a crashed daemon left behind."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.framework.failures import ExitStatus
from cli.framework.group import new_app
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import echo, echo_error, print_json
from cli.output.progress import working
from orchestrator.errors import JournalError, TreeLockedError
from orchestrator.power.attribute_journal import (
    ATTRIBUTE_JOURNAL_NAME,
    AttributeJournal,
)
from orchestrator.power.attribute_kinds import name_attributes
from orchestrator.power.held_attributes import HeldAttributes
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.limit_journal import LIMIT_JOURNAL_NAME, LimitJournal
from orchestrator.power.replay import Replay
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.tree_lock import CpuTreeLock

if TYPE_CHECKING:
    from cli.output.documents import Restoration

app = new_app()


@app.command()
def restore(
    context: typer.Context,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", help="Restore journal, if not in the run directory."),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", help="Directory of the restore journal."),
    ] = None,
    sysfs_root: Annotated[
        Path, typer.Option("--sysfs-root", help="Root of the CPU tree.")
    ] = Path("/sys"),
    output: OutputOption = None,
) -> None:
    """Restore CPU settings left behind by a crashed daemon.

    These are governors, the kernel's frequency limits, idle latencies, energy
    preferences, uncore frequencies and turbo switches. Works without the daemon, and is
    refused while one is running. A daemon that starts restores them itself.
    """
    settings = settings_of(context, output)
    path = journal or (run_dir or settings.run_dir) / JOURNAL_NAME
    groups, attributes = _replay(path, CpuTree(sysfs_root))
    if settings.output is Output.JSON:
        print_json(_document(groups, attributes))
    else:
        _report(path, groups, attributes)
    if groups.kept or attributes.kept or attributes.refused:
        raise typer.Exit(ExitStatus.FAILED)


def _replay(path: Path, tree: CpuTree) -> tuple[Replay[int], Replay[str]]:
    claim = CpuTreeLock(tree)
    try:
        claim.acquire()
    except TreeLockedError as error:
        hint = "stop the daemon; it restores the CPUs when it exits"
        raise TreeLockedError(str(error), hint=hint) from error
    try:
        journal = Journal(path, tree)
        limits = LimitJournal(path.with_name(LIMIT_JOURNAL_NAME), tree)
        attributes = AttributeJournal(path.with_name(ATTRIBUTE_JOURNAL_NAME), tree)
        for each in (journal, limits, attributes):
            _check(each)
        with working("restoring CPU settings"):
            groups = _combine(journal.replay(), HeldLimits(tree, limits).replay())
            return groups, HeldAttributes(tree, attributes).replay()
    finally:
        claim.release()


def _combine(governors: Replay[int], limits: Replay[int]) -> Replay[int]:
    """Return what became of each clock group: of its governor and of its limits."""
    kept = dict(governors.kept)
    for number, reason in limits.kept.items():
        kept[number] = f"{kept[number]}; {reason}" if number in kept else reason
    restored = {*governors.restored, *limits.restored} - kept.keys()
    left = {*governors.left, *limits.left} - kept.keys() - restored
    return Replay(restored=tuple(sorted(restored)), left=tuple(sorted(left)), kept=kept)


def _check(journal: Journal) -> None:
    """Refuse a journal of another tree or boot, instead of setting it aside."""
    try:
        journal.read()
    except JournalError as error:
        if isinstance(error.__cause__, OSError):
            raise
        hint = "nothing was changed; check that --sysfs-root is the daemon's"
        raise JournalError(str(error), hint=hint) from error.__cause__


def _document(groups: Replay[int], attributes: Replay[str]) -> "Restoration":
    kept = {**attributes.kept, **attributes.refused}
    return {
        "restored": list(groups.restored),
        "left": list(groups.left),
        "kept": [{"clock_group": n, "reason": why} for n, why in groups.kept.items()],
        "attributes": {
            "restored": list(attributes.restored),
            "left": list(attributes.left),
            "kept": [{"path": name, "reason": why} for name, why in kept.items()],
        },
    }


def _report(path: Path, groups: Replay[int], attributes: Replay[str]) -> None:
    if groups.is_empty and attributes.is_empty:
        echo(f"nothing to restore in {path}")
    for number in groups.restored:
        echo(f"clock group {number}: restored")
    for number in groups.left:
        echo(f"clock group {number}: unchanged, its settings are another program's")
    for number, reason in groups.kept.items():
        echo_error(f"clock group {number} not restored: {reason}")
    if attributes.restored:
        echo(f"{name_attributes(attributes.restored)}: restored")
    if attributes.left:
        name = name_attributes(attributes.left)
        echo(f"{name}: unchanged, set by another program since")
    for name, reason in {**attributes.kept, **attributes.refused}.items():
        echo_error(f"{name_attributes([name])} not restored: {reason}")
