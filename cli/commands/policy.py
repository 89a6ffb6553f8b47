# SPDX-License-Identifier: Apache-2.0
"""`vmpower policy`: frequency policies for vCPUs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.commands.arguments import DomainArgument, OnlyDomainArgument
from cli.completion import candidates
from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.framework.help import HelpfulCommand
from cli.framework.session import Answer, connect, show
from cli.framework.settings import Output, OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, show_query
from cli.output.echo import echo, print_json
from cli.output.tables.policies import (
    DEFAULT_NAME,
    build_policies,
    build_preview,
    format_source,
)
from orchestrator.control.client import ControlClient
from orchestrator.control.documents import PolicyChange, PolicyList
from orchestrator.errors import ConfigError
from orchestrator.policy.kinds.option import Option
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.rule import SHARED_OPTIONS, PolicyRule, kinds_with
from orchestrator.policy.schedule import find_changes
from orchestrator.policy.text import format_policy, parse_policies, parse_policy, spell

app = new_app(doc="Frequency policies for vCPUs: list, set, preview, remove.")

PolicyArgument = Annotated[
    list[str],
    typer.Argument(
        help="Kind and options, as in: utilisation up-above=0.9 vcpus=0-3.",
        metavar="KIND [OPTION=VALUE]...",
        autocompletion=candidates.policy_arguments,
    ),
]


class PolicySetCommand(HelpfulCommand):
    """A command whose help explains every kind of policy."""

    def sections(self) -> dict[str, list[tuple[str, str]]]:
        """Return the kinds, and the options of each."""
        rows = []
        for kind, cls in KINDS.items():
            rows.append((str(kind), cls.summary()))
            rows += [_explain(option) for option in cls.options().values()]
        shared = list(map(_explain_shared, SHARED_OPTIONS))
        return {"Kinds": rows, "Shared options": shared}


@app.command("list", cls=WatchableCommand)
def list_policies(
    context: typer.Context,
    domain: OnlyDomainArgument = None,
    watch_s: WatchOption = None,
    output: OutputOption = None,
) -> None:
    """List the policies in force, what they request, and the next change."""

    def query(client: ControlClient) -> Answer:
        wanted = client.domain(domain)["uuid"] if domain is not None else None
        policies = client.policies()["policies"]
        cpus = client.cpus()["cpus"]
        document = PolicyList(
            policies=[p for p in policies if wanted in (None, p["uuid"])]
        )
        return Answer(document, lambda: build_policies(document, cpus))

    show_query(settings_of(context, output), query, watch_s)


@app.command("set", cls=PolicySetCommand)
def set_policy(
    context: typer.Context,
    domain: DomainArgument,
    policy: PolicyArgument,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Name; a domain can have several policies. [default: 'default', for"
            " kinds that do not vote their own]",
        ),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Set a policy for a running domain.

    It replaces the policy of the same name and lasts until 'vmpower policy remove' or
    until the domain is shut off, also over restarts of vmpowerd. It takes precedence
    over policies of the configuration and of the domain's metadata. For a policy that
    outlives the domain's run, use 'vmpower domain set --policy'.

    The kinds latency and epp do not vote: they apply beside a policy that does, and
    beside the domain's settings; of both, the one for more performance counts.
    KIND=VALUE is the same as KIND VALUE.

    A policy that names what the domain does not have is refused. If something keeps it
    from taking effect now, such as pinning, it is set with a warning, and takes effect
    when that changes.

    An option that is a list is repeated for each item.
    """
    settings = settings_of(context, output)
    with as_usage_error():
        rule = _read(policy)
        text = format_policy(rule)
    if name is None:
        name = DEFAULT_NAME if KINDS[rule.kind].is_voting() else rule.kind
    with connect(settings, is_changing=True) as client:
        done = client.set_policy(domain, name, text)
    if settings.output is Output.JSON:
        print_json(done)
        return
    echo(f"{domain}: {format_source(done)}: {done['text']}")
    for warning in done["warnings"]:
        echo(f"warning: {warning}", err=True)


@app.command("preview")
def preview_policy(
    context: typer.Context,
    policy: PolicyArgument,
    *,
    week: Annotated[bool, typer.Option("--week", help="Show the coming week.")] = False,
    output: OutputOption = None,
) -> None:
    """Show what a policy would request in the next 24 hours.

    Nothing is set, and no daemon is needed. Kinds and options are those of 'vmpower
    policy set'. Times are in the time zone of the policy, by default that of this host.

    'No preference' means that the policy does not vote: requests of the guest decide,
    and without any the vCPU gets the highest frequency.
    """
    with as_usage_error():
        rule = _read(policy)
        built = rule.build_policy()
    begin = datetime.now(UTC)
    end = begin + timedelta(days=7 if week else 1)
    end_text = (end.astimezone(built.zone)).isoformat(timespec="seconds")
    changes = [
        PolicyChange(at=change.at.isoformat(timespec="seconds"), level=change.level)
        for change in find_changes(built, begin, end)
    ]
    zone = None if built.zone is None else str(built.zone)
    text = format_policy(rule)
    document = {
        "text": text,
        "zone": zone,
        "changes": changes,
        "end": end_text,
    }
    show(
        settings_of(context, output),
        document,
        lambda: build_preview(text, zone, changes, end_text),
    )


@app.command("remove")
def remove_policy(
    context: typer.Context,
    domain: DomainArgument,
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the policy.",
            metavar="[NAME]",
            autocompletion=candidates.policy_names,
        ),
    ] = DEFAULT_NAME,
    output: OutputOption = None,
) -> None:
    """Remove a policy that was set with 'policy set'."""
    settings = settings_of(context, output)
    with connect(settings, is_changing=True) as client:
        left = client.remove_policy(domain, name)
    if settings.output is Output.JSON:
        print_json({"policies": left["policies"]})
        return
    echo(f"{domain}: policy {name} removed")


def _read(policy: list[str]) -> PolicyRule:
    """Read a policy of several words, or of one that is quoted as a whole.

    Raises:
        ConfigError: it is invalid, or not one policy.
    """
    if len(policy) > 1:
        return parse_policy(policy)
    rules = parse_policies(policy[0])
    if len(rules) != 1:
        raise ConfigError(f"invalid text: expected one policy, not {len(rules)}")
    return rules[0]


def _explain(option: Option) -> tuple[str, str]:
    if option.is_bare:
        return f"  {option.placeholder}", f"{option.doc} [required]"
    return f"  {spell(option.name)}=...", f"{option.doc} [{option.about}]"


def _explain_shared(option: Option) -> tuple[str, str]:
    term, explanation = _explain(option)
    kinds = kinds_with(option)
    if len(kinds) < len(KINDS):
        explanation = f"{explanation} Only of {', '.join(kinds)}."
    return term.lstrip(), explanation
