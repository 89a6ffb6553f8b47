"""`vmpower domain`: what takes part, and how a domain comes to it."""

from typing import ClassVar

import typer

from cli.arguments import DomainArgument
from cli.group import LazyGroup, new_app
from cli.session import connect, show
from cli.settings import OutputOption, settings_of
from cli.tables.domains import build_domain, build_domains
from cli.watch import Answer, WatchableCommand, WatchOption, present
from orchestrator.control.client import ControlClient


class DomainGroup(LazyGroup):
    """Imports what speaks to libvirt only for the commands that do."""

    modules: ClassVar[dict[str, str]] = {
        "add": "cli.onboarding:add",
        "pin": "cli.onboarding:pin",
        "onboard": "cli.onboard:onboard",
        "offboard": "cli.onboard:offboard",
        "set": "cli.domain_policy:set_policy",
    }


app = new_app(cls=DomainGroup, doc="Domains: list, show, add, onboard, set, pin.")


@app.command("list", cls=WatchableCommand)
def list_domains(
    context: typer.Context, watch_s: WatchOption = None, output: OutputOption = None
) -> None:
    """List all domains that libvirt knows."""

    def ask(client: ControlClient) -> Answer:
        document = client.domains()
        return Answer(document, lambda: build_domains(document))

    present(settings_of(context, output), ask, watch_s)


@app.command("show")
def show_domain(
    context: typer.Context,
    domain: DomainArgument,
    output: OutputOption = None,
) -> None:
    """Show one domain with its vCPUs and channels."""
    settings = settings_of(context, output)
    with connect(settings) as client:
        document = client.domain(domain)
        cpus = client.cpus()["cpus"]
    show(settings, document, lambda: build_domain(document, cpus))
