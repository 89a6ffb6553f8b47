# SPDX-License-Identifier: Apache-2.0
"""The sections about the command `vmpower-guest`, from its `--help`."""

from __future__ import annotations

from orchestrator.guest.arguments import build_parser
from orchestrator.guest.examples import EXAMPLES
from scripts.manual import parsers, roff


def guest_sections() -> list[str]:
    """Format the global options, all commands and all examples."""
    root = build_parser()
    lines = roff.heading("OPTIONS")
    lines += roff.text("Global options are given before the command.")
    lines += parsers.options(root)
    lines += roff.heading("COMMANDS")
    for command in parsers.commands(root):
        lines += roff.subheading(command.prog)
        lines += [parsers.synopsis(command)]
        lines += roff.text(command.description or "")
        lines += parsers.options(command)
    lines += roff.heading("EXAMPLES")
    for examples in EXAMPLES.values():
        for purpose, line in examples.items():
            lines += [*roff.text(f"{purpose}:"), *roff.verbatim([line])]
    return lines
