# SPDX-License-Identifier: Apache-2.0
"""`vmpower tuned-profile`: a TuneD profile that leaves CPUs to vmpowerd."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.completion import candidates
from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.framework.session import connect
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import echo, print_json
from orchestrator.control.documents import Status
from orchestrator.errors import VmpowerError
from orchestrator.values.cpuset import format_cpulist, parse_cpulist
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from cli.output.documents import TunedProfile

app = new_app()

_NAME = "vmpower"
_DIRECTORIES = (Path("/etc/tuned/profiles"), Path("/etc/tuned"))
"""TuneD reads profiles from the first one since 2.23, from the second one before."""
_GLOBAL = "min_perf_pct,max_perf_pct,no_turbo"
"""Options of TuneD's plugin for CPUs that apply to all of them at once."""


class TunedError(VmpowerError):
    """The profile cannot be written."""


@app.command()
def tuned_profile(
    context: typer.Context,
    cpus: Annotated[
        str,
        typer.Argument(
            help="CPUs such as 2-5,8; by default those whose clock groups domains are"
            " pinned into.",
            metavar="CPUS",
            autocompletion=candidates.cpus,
        ),
    ] = "",
    base: Annotated[
        str,
        typer.Option("--base", metavar="PROFILE", help="TuneD profile to extend."),
    ] = "virtual-host",
    *,
    is_installing: Annotated[
        bool,
        typer.Option(
            "--install", help="Write it to /etc/tuned instead of printing it."
        ),
    ] = False,
    output: OutputOption = None,
) -> None:
    """Print a TuneD profile that leaves CPUs to vmpowerd.

    It is another profile without its governor, energy preference and limits for these
    CPUs. TuneD applies them otherwise at its start and when the profile is switched,
    which vmpowerd reports as drift. 'tuned-adm profile vmpower' activates it once it is
    installed; 'vmpower cpu retake' takes back what TuneD has changed before. Write it
    again when domains are pinned to other CPUs.
    """
    settings = settings_of(context, output)
    if cpus:
        with as_usage_error():
            left = parse_cpulist(cpus)
    else:
        with connect(settings) as client:
            left = _used_cpus(client.status())
    text = _profile(left, base)
    path = _install(text) if is_installing else None
    if settings.output is Output.JSON:
        document: TunedProfile = {
            "cpus": sorted(left),
            "base": base,
            "path": str(path) if path else None,
            "text": text,
        }
        print_json(document)
    elif path is None:
        typer.echo(text, nl=False)
    else:
        echo(f"wrote {path}; to activate it: 'tuned-adm profile {_NAME}'")
        if left:
            retake = f"vmpower cpu retake {format_cpulist(left)}"
            echo(f"if TuneD has changed these CPUs before: '{retake}'")


def _used_cpus(status: Status) -> frozenset[int]:
    """Return the CPUs of all clock groups that vCPUs are pinned into."""
    groups = {
        group
        for domain in status["domains"]
        for vcpu in domain["vcpus"]
        for group in vcpu["clock_groups"]
    }
    return frozenset(
        cpu["pcpu"] for cpu in status["cpus"] if cpu["clock_group"] in groups
    )


def _profile(cpus: Iterable[int], base: str) -> str:
    left = sorted(cpus)
    # Without a rule for what it takes, the plugin takes all others.
    devices = ",".join(f"!cpu{cpu}" for cpu in left) or "*"
    about = f"leaves CPUs {format_cpulist(left)} to vmpowerd" if left else "no CPUs"
    return (
        "# Written by 'vmpower tuned-profile'.\n"
        f"[main]\nsummary={printable(base)}, but {about}\ninclude={printable(base)}\n\n"
        f"[cpu]\ndevices={devices}\ndrop={_GLOBAL}\n"
    )


def _install(text: str) -> Path:
    parents = [path for path in _DIRECTORIES if path.is_dir()]
    if not parents:
        raise TunedError(
            "no TuneD found: /etc/tuned is missing", hint="install tuned, or print it"
        )
    path = parents[0] / _NAME / "tuned.conf"
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TunedError(f"cannot write {path}: {error.strerror}") from error
    return path
