# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain`: show, create and change domains."""

from typing import ClassVar

import typer

from cli.commands.arguments import AllOption, DomainArgument
from cli.framework.group import LazyGroup, new_app
from cli.framework.session import Answer, connect, show
from cli.framework.settings import OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, show_query
from cli.output.tables.domains import build_domain, build_domains
from orchestrator.control.client import ControlClient


class DomainGroup(LazyGroup):
    """Imports the libvirt bindings only for the commands that use them."""

    modules: ClassVar[dict[str, str]] = {
        "add": "cli.commands.domain_add:add",
        "pin": "cli.commands.domain_pin:pin",
        "onboard": "cli.commands.domain_onboard:onboard",
        "offboard": "cli.commands.domain_onboard:offboard",
        "set": "cli.commands.domain_set:set_domain",
    }


app = new_app(
    cls=DomainGroup, doc="Domains: list, show, add, pin, onboard, offboard, set."
)


@app.command("list", cls=WatchableCommand)
def list_domains(
    context: typer.Context,
    *,
    has_shut_off: AllOption = False,
    watch_s: WatchOption = None,
    output: OutputOption = None,
) -> None:
    """List running domains, also those that vmpower does not manage."""

    def query(client: ControlClient) -> Answer:
        document = client.domains()
        return Answer(
            document, lambda: build_domains(document, has_shut_off=has_shut_off)
        )

    show_query(settings_of(context, output), query, watch_s)


@app.command("show")
def show_domain(
    context: typer.Context,
    domain: DomainArgument,
    output: OutputOption = None,
) -> None:
    """Show everything known about a domain, including problems.

    Bounds is the range of frequencies that the settings of the host and of the domain
    allow. "Set by" names what determines the current frequency: a policy, the guest, an
    override ('vmpower cpu set'), or the kernel's governor if none of these applies.
    """
    settings = settings_of(context, output)
    with connect(settings) as client:
        document = client.domain(domain)
        cpus = client.cpus()["cpus"]
    show(settings, document, lambda: build_domain(document, cpus))
