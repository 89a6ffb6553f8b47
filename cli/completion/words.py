"""What a shell offers for an argument: names that the daemon or libvirt know now.

Nobody waits for a completion, and nobody wants to read an error in the middle of a
line: whatever goes wrong, nothing is offered. Only words that mean nothing to a shell
are: a domain may have any name, and typer's scripts hand it to `eval`.

Synchronization: none required, one completion per process.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer  # noqa: TC002 - typer resolves the hints of these functions

from cli.framework.settings import DEFAULT_RUN_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.control.client import ControlClient
    from orchestrator.control.documents import Domain

DAEMON_PATIENCE_S = 0.5
LIBVIRT_PATIENCE_S = 1.5
"""A socket-activated libvirtd needs most of a second to come up."""
_HARMLESS = re.compile(r"[\w.+@%=,/-]+", re.ASCII)
_ALL = "all"


def domains(context: typer.Context) -> list[str]:
    """Offer domains by name."""
    found: Iterable[str] = ()
    try:
        with _daemon(context) as client:
            found = [domain["name"] for domain in client.domains()["domains"]]
    except Exception:  # noqa: BLE001 - libvirt is asked instead
        with suppress(Exception):
            found = _ask_libvirt(context)
    return _harmless(found)


def channels(context: typer.Context) -> list[str]:
    """Offer the channels of the domain that stands before."""
    with suppress(Exception):
        numbers = [channel["number"] for channel in _domain(context)["channels"]]
        return [*map(str, numbers), _ALL]
    return [_ALL]


def vcpus(context: typer.Context) -> list[str]:
    """Offer the vCPUs of the domain that stands before."""
    with suppress(Exception):
        return [str(vcpu["vcpu"]) for vcpu in _domain(context)["vcpus"]]
    return []


def cpus(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer CPUs by the clock that they share, also after a comma."""
    before, comma, _ = incomplete.rpartition(",")
    with suppress(Exception):
        return [
            (f"{before}{comma}{group}", clock)
            for group, clock in _clock_groups(context)
        ]
    return []


def cpus_or_all(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer CPUs as `cpus`, and all of them."""
    found = cpus(context, incomplete)
    return found if "," in incomplete else [*found, (_ALL, "all CPUs")]


def clocks(context: typer.Context) -> list[str]:
    """Offer the clocks that the host's CPUs can have."""
    with suppress(Exception), _daemon(context) as client:
        found = {khz for cpu in client.cpus()["cpus"] for khz in cpu["steps_khz"]}
        return [f"{khz // 1_000}MHz" for khz in sorted(found)]
    return []


def policy_words(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer kinds of policies, then the options of the kind that was typed."""
    with suppress(Exception):
        from orchestrator.policy.kinds.table import KINDS
        from orchestrator.policy.rule import find_kind, options_for
        from orchestrator.policy.text import spell

        typed = context.params.get("policy") or ()
        if not typed:
            return [(kind, cls.summary()) for kind, cls in KINDS.items()]
        options = options_for(find_kind(typed[0])).values()
        bare = [word for it in options if it.is_bare for word in it.form.choices]
        named = [it for it in options if not it.is_bare and "=" not in incomplete]
        return [
            *((word, "") for word in bare if word not in typed),
            *((f"{spell(it.name)}=", it.doc) for it in named),
        ]
    return []


def policy_names(context: typer.Context) -> list[str]:
    """Offer the policies that `policy set` gave the domain that was typed."""
    with suppress(Exception):
        found = _domain(context)["policies"]
        return _harmless(it["name"] for it in found if it["source"] == "operator")
    return []


def templates() -> list[tuple[str, str]]:
    """Offer templates of new domains."""
    with suppress(Exception):
        from domain_templates.catalog import OPERATORS, list_templates

        return [
            (template.name, template.summary)
            for template in list_templates(OPERATORS)
            if _HARMLESS.fullmatch(template.name)
        ]
    return []


def _daemon(context: typer.Context) -> ControlClient:
    from orchestrator.control import READ_ONLY_SOCKET
    from orchestrator.control.client import ControlClient

    options = context.find_root().params  # as they were typed: no paths yet
    run_dir = Path(options.get("run_dir") or DEFAULT_RUN_DIR)
    path = options.get("socket") or run_dir / READ_ONLY_SOCKET
    return ControlClient(Path(path), timeout_s=DAEMON_PATIENCE_S)


def _ask_libvirt(context: typer.Context) -> Iterable[str]:
    from orchestrator.hypervisor.inspection import list_names
    from orchestrator.hypervisor.uri import choose_uri

    named = context.params.get("connect"), context.find_root().params.get("uri")
    return list_names(choose_uri(*named), timeout_s=LIBVIRT_PATIENCE_S)


def _domain(context: typer.Context) -> Domain:
    with _daemon(context) as client:
        return client.domain(context.params["domain"])


def _clock_groups(context: typer.Context) -> Iterator[tuple[str, str]]:
    from orchestrator.values.cpuset import format_cpulist
    from orchestrator.values.units import format_khz

    with _daemon(context) as client:
        found = client.cpus()["cpus"]
    groups: dict[int, list[int]] = {}
    for cpu in found:
        groups.setdefault(cpu["clock_group"], []).append(cpu["pcpu"])
    current = {cpu["clock_group"]: cpu["current_khz"] for cpu in found}
    for number, pcpus in groups.items():
        yield format_cpulist(pcpus), format_khz(current[number])


def _harmless(words: Iterable[str]) -> list[str]:
    return [word for word in words if _HARMLESS.fullmatch(word)]
