"""`vmpower restore`: undo what a daemon left behind when nobody restarted it."""

from pathlib import Path
from typing import Annotated

import typer

from cli.framework.failures import ExitStatus, tell
from cli.framework.group import new_app
from cli.framework.session import write_json
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import say
from cli.output.progress import working
from orchestrator.errors import JournalError, TreeLockedError
from orchestrator.power.journal import JOURNAL_NAME, Journal, Replay
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.tree_lock import CpuTreeLock

app = new_app()


@app.command()
def restore(
    context: typer.Context,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", help="The journal, if not in the run directory."),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", help="Directory of the journal."),
    ] = None,
    sysfs_root: Annotated[
        Path, typer.Option("--sysfs-root", help="Root of the CPU tree.")
    ] = Path("/sys"),
    output: OutputOption = None,
) -> None:
    """Give the CPUs back as a dead daemon found them.

    It needs no daemon. A daemon that starts does this by itself, and one that runs
    refuses it.
    """
    settings = settings_of(context, output)
    path = journal or (run_dir or settings.run_dir) / JOURNAL_NAME
    replay = _replay(path, CpuTree(sysfs_root))
    if settings.output is Output.JSON:
        kept = [{"clock_group": n, "reason": why} for n, why in replay.kept.items()]
        write_json(
            {
                "restored": list(replay.restored),
                "left": list(replay.left),
                "kept": kept,
            }
        )
    else:
        _tell(path, replay)
    for number, reason in replay.kept.items():
        tell(f"clock group {number} is not restored: {reason}")
    if replay.kept:
        raise typer.Exit(ExitStatus.FAILED)


def _replay(path: Path, tree: CpuTree) -> Replay:
    claim = CpuTreeLock(tree)
    try:
        claim.acquire()
    except TreeLockedError as error:
        hint = "stop the daemon: it restores by itself when it ends"
        raise TreeLockedError(str(error), hint=hint) from error
    try:
        journal = Journal(path, tree)
        _check(journal)
        with working("giving the CPUs back"):
            return journal.replay()
    finally:
        claim.release()


def _check(journal: Journal) -> None:
    """Refuse a journal of another tree or boot, instead of setting it aside."""
    try:
        journal.read()
    except JournalError as error:
        hint = "nothing was written; is --sysfs-root the daemon's?"
        raise JournalError(str(error), hint=hint) from error.__cause__


def _tell(path: Path, replay: Replay) -> None:
    if not (replay.restored or replay.left or replay.kept):
        say(f"nothing to restore in {path}")
    for number in replay.restored:
        say(f"clock group {number}: restored")
    for number in replay.left:
        say(f"clock group {number}: left as it is, it is not ours any more")
