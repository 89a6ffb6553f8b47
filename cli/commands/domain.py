"""`vmpower domain`: what takes part, and how a domain comes to it."""

from typing import ClassVar

import typer

from cli.commands.arguments import DomainArgument
from cli.framework.answer import Answer
from cli.framework.group import LazyGroup, new_app
from cli.framework.session import connect, show
from cli.framework.settings import OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, present
from cli.output.tables.domains import build_domain, build_domains
from orchestrator.control.client import ControlClient


class DomainGroup(LazyGroup):
    """Imports what speaks to libvirt only for the commands that do."""

    modules: ClassVar[dict[str, str]] = {
        "add": "cli.commands.domain_add:add",
        "pin": "cli.commands.domain_pin:pin",
        "onboard": "cli.commands.domain_onboard:onboard",
        "offboard": "cli.commands.domain_onboard:offboard",
        "set": "cli.commands.domain_set:set_policy",
    }


app = new_app(
    cls=DomainGroup, doc="Domains: list, show, add, pin, onboard, offboard, set."
)


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
    """Show all that is known of a domain, and what is wrong with it.

    Bounds are what the host and the domain's rights leave of the steps of a clock.
    "Set by" says whose word the clock follows now: that of a policy, of the guest, of
    an operator ('vmpower cpu set'), or of the kernel's governor where nobody of these
    has one.
    """
    settings = settings_of(context, output)
    with connect(settings) as client:
        document = client.domain(domain)
        cpus = client.cpus()["cpus"]
    show(settings, document, lambda: build_domain(document, cpus))
