# SPDX-License-Identifier: Apache-2.0
"""Assembles the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orchestrator
from cli.framework.failures import ExitStatus
from orchestrator.__main__ import build_parser
from orchestrator.guest.__main__ import ExitStatus as GuestStatus
from scripts.manual import parsers, prose, roff
from scripts.manual.command import command_sections
from scripts.manual.configuration import configuration_sections
from scripts.manual.docstrings import members_of
from scripts.manual.guest import guest_sections

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import IntEnum

SEE_ALSO = {
    "vmpower(1)": "vmpowerd(8), vmpower.toml(5), vmpower-guest(1), virsh(1),"
    " cpupower(1)",
    "vmpower-guest(1)": "vmpower(1), vmpowerd(8), proc(5)",
    "vmpowerd(8)": "vmpower(1), vmpower.toml(5), libvirtd(8), systemd.service(5)",
    "vmpower.toml(5)": "vmpowerd(8), vmpower(1)",
}

_INTERRUPTED = "130", "Interrupted by Ctrl-C."


def build_pages() -> dict[str, str]:
    """Generate all pages, by file name."""
    pages = {
        ("vmpower", 1): ("manage the CPU frequencies of virtual machines", _command),
        ("vmpower-guest", 1): ("request CPU frequencies from the host of a VM", _guest),
        ("vmpowerd", 8): ("CPU frequency daemon for virtual machines", _daemon),
        ("vmpower.toml", 5): ("configuration of vmpowerd", _configuration),
    }
    return {
        f"{name}.{section}": _page(name, section, summary, build())
        for (name, section), (summary, build) in pages.items()
    }


def _page(name: str, section: int, summary: str, lines: Iterable[str]) -> str:
    begin = roff.title(
        name,
        section,
        date=prose.DATE,
        source=f"vmpower {orchestrator.__version__}",
        manual="Power management of virtual machines",
    )
    named = f"{roff.escape(name)} \\- {roff.escape(summary)}"
    end = [*roff.heading("SEE ALSO"), *roff.text(SEE_ALSO[f"{name}({section})"])[1:]]
    whole = [*begin, *roff.heading("NAME"), named, *lines, *end]
    return "\n".join(_without_redundant_paragraphs(whole)) + "\n"


def _without_redundant_paragraphs(lines: list[str]) -> Iterable[str]:
    """Drop each `.PP` after a macro that starts a paragraph anyway."""
    before = ""
    for line in lines:
        if line != ".PP" or not before.startswith((".SH", ".SS")):
            yield line
        before = line


def _command() -> list[str]:
    environment = prose.ENVIRONMENT_OF_COMMAND + prose.ENVIRONMENT
    return [
        *roff.heading("SYNOPSIS"),
        f"{roff.bold('vmpower')} {roff.spelling('[OPTIONS] COMMAND [ARGS]...')}",
        *roff.heading("DESCRIPTION"),
        *roff.text(prose.VMPOWER),
        *command_sections(),
        *_statuses(ExitStatus, _INTERRUPTED),
        *_table("ENVIRONMENT", environment),
        *_table("FILES", prose.FILES),
    ]


def _guest() -> list[str]:
    return [
        *roff.heading("SYNOPSIS"),
        f"{roff.bold('vmpower-guest')} {roff.spelling('[OPTIONS] COMMAND ...')}",
        *roff.heading("DESCRIPTION"),
        *roff.text(prose.VMPOWER_GUEST),
        *guest_sections(),
        *_statuses(GuestStatus),
        *_table("FILES", prose.FILES_OF_GUEST),
    ]


def _daemon() -> list[str]:
    parser = build_parser()
    examples: list[str] = []
    for line, purpose in prose.DAEMON_EXAMPLES:
        examples += [*roff.text(purpose), *roff.verbatim([line])]
    return [
        *roff.heading("SYNOPSIS"),
        parsers.synopsis(parser),
        *roff.heading("DESCRIPTION"),
        *roff.text(prose.VMPOWERD),
        *roff.heading("OPTIONS"),
        *parsers.options(parser),
        *_table("SIGNALS", prose.SIGNALS),
        *roff.heading("EXIT STATUS"),
        *roff.item(roff.bold("0"), "Terminated normally."),
        *roff.item(roff.bold("1"), "Could not start, or had to stop."),
        *roff.item(roff.bold("2"), "Invalid arguments or configuration."),
        *_table("ENVIRONMENT", prose.ENVIRONMENT),
        *_table("FILES", prose.FILES),
        *roff.heading("EXAMPLES"),
        *examples,
    ]


def _configuration() -> list[str]:
    return [
        *roff.heading("SYNOPSIS"),
        roff.bold("/etc/vmpower/vmpower.toml"),
        *roff.text("`/etc/vmpower/conf.d/*.toml`"),
        *roff.heading("DESCRIPTION"),
        *roff.text(prose.CONFIGURATION),
        *configuration_sections(),
        *_table("FILES", prose.FILES[:2]),
        *roff.heading("EXAMPLES"),
        *roff.verbatim(prose.CONFIGURATION_EXAMPLE),
    ]


def _statuses(statuses: type[IntEnum], *others: tuple[str, str]) -> list[str]:
    docs = members_of(statuses)
    rows = [(str(int(status)), docs[status.name]) for status in statuses]
    return _table("EXIT STATUS", [("0", "Success."), *rows, *others])


def _table(name: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = roff.heading(name)
    for term, text in rows:
        lines += roff.item(roff.bold(term), text)
    return lines
