"""`vmpower policy`: what vCPUs should get without asking."""

from typing import Annotated

import typer

from cli.commands.arguments import DomainArgument, OnlyDomainArgument
from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.framework.session import Answer, connect
from cli.framework.settings import Output, OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, show_query
from cli.output.echo import echo, print_json
from cli.output.tables.policies import build_policies, tell_source
from orchestrator.control.client import ControlClient
from orchestrator.control.documents import PolicyList
from orchestrator.policy.text import format_policy, parse_policy

app = new_app(doc="Policies, what vCPUs get without asking: list, set, remove.")

DEFAULT_NAME = "default"


@app.command("list", cls=WatchableCommand)
def list_policies(
    context: typer.Context,
    domain: OnlyDomainArgument = None,
    watch_s: WatchOption = None,
    output: OutputOption = None,
) -> None:
    """List the policies in force: whose they are and what they want."""

    def query(client: ControlClient) -> Answer:
        wanted = client.domain(domain)["uuid"] if domain is not None else None
        policies = client.policies()["policies"]
        cpus = client.cpus()["cpus"]
        document = PolicyList(
            policies=[p for p in policies if wanted in (None, p["uuid"])]
        )
        return Answer(document, lambda: build_policies(document, cpus))

    show_query(settings_of(context, output), query, watch_s)


@app.command("set")
def set_policy(
    context: typer.Context,
    domain: DomainArgument,
    policy: Annotated[
        list[str],
        typer.Argument(
            help="As in: utilisation up-above=0.9 vcpus=0-3.",
            metavar="KIND [OPTION=VALUE]...",
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", help="What to call it; a domain can have several.")
    ] = DEFAULT_NAME,
    output: OutputOption = None,
) -> None:
    """Give a running domain a policy.

    It lasts until the domain stops or the policy is removed. Kinds: utilisation;
    workload high|medium|low; time-of-day busy=... quiet=...; traffic avg-pps=N
    max-pps=N; branch-ratio. It stands above the policies of the configuration and of
    the domain's metadata. 'vmpower domain set --policy' lasts.
    """
    settings = settings_of(context, output)
    with as_usage_error():
        text = format_policy(parse_policy(policy))
    with connect(settings, is_changing=True) as client:
        done = client.set_policy(domain, name, text)
    if settings.output is Output.JSON:
        print_json(done)
        return
    echo(f"{domain}: {tell_source(done)}: {done['text']}")


@app.command("remove")
def remove_policy(
    context: typer.Context,
    domain: DomainArgument,
    name: Annotated[
        str, typer.Argument(help="Its name, if it has another one.", metavar="[NAME]")
    ] = DEFAULT_NAME,
    output: OutputOption = None,
) -> None:
    """End a policy of 'policy set'."""
    settings = settings_of(context, output)
    with connect(settings, is_changing=True) as client:
        left = client.remove_policy(domain, name)
    if settings.output is Output.JSON:
        print_json({"policies": left["policies"]})
        return
    echo(f"{domain}: policy {name} removed")
