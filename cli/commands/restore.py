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
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.journal import JOURNAL_NAME, Journal, Replay
from orchestrator.power.limit_journal import LIMIT_JOURNAL_NAME, LimitJournal
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

    These are governors and the kernel's frequency limits. Works without the daemon, and
    is refused while one is running. A daemon that starts restores them itself.
    """
    settings = settings_of(context, output)
    path = journal or (run_dir or settings.run_dir) / JOURNAL_NAME
    replay = _replay(path, CpuTree(sysfs_root))
    if settings.output is Output.JSON:
        print_json(_document(replay))
    else:
        _report(path, replay)
    if replay.kept:
        raise typer.Exit(ExitStatus.FAILED)


def _replay(path: Path, tree: CpuTree) -> Replay:
    claim = CpuTreeLock(tree)
    try:
        claim.acquire()
    except TreeLockedError as error:
        hint = "stop the daemon; it restores the CPUs when it exits"
        raise TreeLockedError(str(error), hint=hint) from error
    try:
        journal = Journal(path, tree)
        limits = LimitJournal(path.with_name(LIMIT_JOURNAL_NAME), tree)
        _check(journal)
        _check(limits)
        with working("restoring CPU settings"):
            return _combine(journal.replay(), HeldLimits(tree, limits).replay())
    finally:
        claim.release()


def _combine(governors: Replay, limits: Replay) -> Replay:
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


def _document(replay: Replay) -> "Restoration":
    kept = replay.kept.items()
    return {
        "restored": list(replay.restored),
        "left": list(replay.left),
        "kept": [{"clock_group": number, "reason": reason} for number, reason in kept],
    }


def _report(path: Path, replay: Replay) -> None:
    if not (replay.restored or replay.left or replay.kept):
        echo(f"nothing to restore in {path}")
    for number in replay.restored:
        echo(f"clock group {number}: restored")
    for number in replay.left:
        echo(f"clock group {number}: unchanged, its settings are another program's")
    for number, reason in replay.kept.items():
        echo_error(f"clock group {number} not restored: {reason}")
