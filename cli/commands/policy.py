# SPDX-License-Identifier: Apache-2.0
"""`vmpower policy`: frequency policies for vCPUs."""

from typing import Annotated

import typer

from cli.commands.arguments import DomainArgument, OnlyDomainArgument
from cli.completion import candidates
from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.framework.help import HelpfulCommand
from cli.framework.session import Answer, connect
from cli.framework.settings import Output, OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, show_query
from cli.output.echo import echo, print_json
from cli.output.tables.policies import DEFAULT_NAME, build_policies, format_source
from orchestrator.control.client import ControlClient
from orchestrator.control.documents import PolicyList
from orchestrator.policy.kinds.option import Option
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.rule import SHARED_OPTIONS, kinds_with
from orchestrator.policy.text import format_policy, parse_policy, spell

app = new_app(doc="Frequency policies for vCPUs: list, set, remove.")


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
    """List the policies in force and what they want."""

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
    policy: Annotated[
        list[str],
        typer.Argument(
            help="Kind and options, as in: utilisation up-above=0.9 vcpus=0-3.",
            metavar="KIND [OPTION=VALUE]...",
            autocompletion=candidates.policy_arguments,
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", help="Name; a domain can have several policies.")
    ] = DEFAULT_NAME,
    output: OutputOption = None,
) -> None:
    """Set a policy for a running domain.

    It replaces the policy of the same name and lasts until 'vmpower policy remove' or
    until the domain is shut off, also over restarts of vmpowerd. It takes precedence
    over policies of the configuration and of the domain's metadata. For a policy that
    outlives the domain's run, use 'vmpower domain set --policy'.

    An option that is a list is repeated for each item.
    """
    settings = settings_of(context, output)
    with as_usage_error():
        text = format_policy(parse_policy(policy))
    with connect(settings, is_changing=True) as client:
        done = client.set_policy(domain, name, text)
    if settings.output is Output.JSON:
        print_json(done)
        return
    echo(f"{domain}: {format_source(done)}: {done['text']}")


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


def _explain(option: Option) -> tuple[str, str]:
    spelled = spell(option.name)
    if option.is_bare:
        return f"  {'|'.join(option.form.choices)}", f"{option.doc} [required]"
    return f"  {spelled}=...", f"{option.doc} [{option.about}]"


def _explain_shared(option: Option) -> tuple[str, str]:
    term, explanation = _explain(option)
    kinds = kinds_with(option)
    if len(kinds) < len(KINDS):
        explanation = f"{explanation} Only of {', '.join(kinds)}."
    return term.lstrip(), explanation
