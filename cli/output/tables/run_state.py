# SPDX-License-Identifier: Apache-2.0
"""Which domains run: they are listed first, and those that are shut off on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.control.documents import Domain


def is_active(domain: Domain) -> bool:
    """Return whether a domain runs or is paused: libvirt has an ID for it."""
    return domain["id"] is not None


def order_domains(domains: Iterable[Domain], *, has_shut_off: bool) -> list[Domain]:
    """Return domains in their order, those that are shut off last or not at all."""
    active_first = sorted(domains, key=lambda domain: not is_active(domain))
    return [domain for domain in active_first if has_shut_off or is_active(domain)]


def describe_shut_off(number: int) -> str:
    """Describe domains that are not listed: `2 domains are shut off`."""
    return f"{plural(number, 'domain')} {'is' if number == 1 else 'are'} shut off"
