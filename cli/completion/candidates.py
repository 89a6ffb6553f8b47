# SPDX-License-Identifier: Apache-2.0
"""Candidates for shell completion: names that the daemon or libvirt know.

A completion must be fast and must not print errors: on any failure there are no
candidates. Names with characters that are special to shells are left out, because
typer's scripts pass candidates to `eval`, and a domain may have any name.

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

DAEMON_TIMEOUT_S = 0.5
LIBVIRT_TIMEOUT_S = 1.5
"""A socket-activated libvirtd takes most of a second to start."""
_SAFE = re.compile(r"[\w.+@%=,/-]+", re.ASCII)
_ALL = "all"


def domains(context: typer.Context) -> list[str]:
    """List the names of domains."""
    found: Iterable[str] = ()
    try:
        with _daemon(context) as client:
            found = [domain["name"] for domain in client.domains()["domains"]]
    except Exception:  # noqa: BLE001 - fall back to libvirt
        with suppress(Exception):
            found = _list_libvirt_names(context)
    return _only_safe(found)


def channels(context: typer.Context) -> list[str]:
    """List the channels of the domain given before."""
    with suppress(Exception):
        numbers = [channel["number"] for channel in _domain(context)["channels"]]
        return [*map(str, numbers), _ALL]
    return [_ALL]


def vcpus(context: typer.Context) -> list[str]:
    """List the vCPUs of the domain given before."""
    with suppress(Exception):
        return [str(vcpu["vcpu"]) for vcpu in _domain(context)["vcpus"]]
    return []


def cpus(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """List CPUs by clock group, also after a comma."""
    before, comma, _ = incomplete.rpartition(",")
    with suppress(Exception):
        return [
            (f"{before}{comma}{group}", current)
            for group, current in _clock_groups(context)
        ]
    return []


def cpus_or_all(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """List CPUs as `cpus` does, and `all`."""
    found = cpus(context, incomplete)
    return found if "," in incomplete else [*found, (_ALL, "all CPUs")]


def frequencies(context: typer.Context) -> list[str]:
    """List levels, and the frequency steps of the host's CPUs."""
    from cli.framework.levels import Level

    levels = [level.value for level in Level]
    with suppress(Exception), _daemon(context) as client:
        found = {khz for cpu in client.cpus()["cpus"] for khz in cpu["steps_khz"]}
        return [*levels, *(f"{khz // 1_000}MHz" for khz in sorted(found))]
    return levels


def policy_arguments(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """List kinds of policies, or the options of the kind given before."""
    with suppress(Exception):
        from orchestrator.policy.kinds.table import KINDS
        from orchestrator.policy.rule import find_kind, options_for
        from orchestrator.policy.text import spell

        typed = context.params.get("policy") or ()
        if not typed:
            return [(kind, cls.summary()) for kind, cls in KINDS.items()]
        options = options_for(find_kind(typed[0])).values()
        bare = [word for it in options if it.is_bare for word in it.form.choices]
        named = [(f"{spell(it.name)}=", it) for it in options if not it.is_bare]
        if "=" in incomplete:
            begun = [(name, it) for name, it in named if incomplete.startswith(name)]
            return [(name + w, "") for name, it in begun for w in it.form.choices]
        return [
            *((word, "") for word in bare if word not in typed),
            *((name, it.doc) for name, it in named),
        ]
    return []


def policy_names(context: typer.Context) -> list[str]:
    """List the policies set with `policy set` for the domain given before."""
    with suppress(Exception):
        found = _domain(context)["policies"]
        return _only_safe(it["name"] for it in found if it["source"] == "operator")
    return []


def templates() -> list[tuple[str, str]]:
    """List templates for new domains."""
    with suppress(Exception):
        from domain_templates.catalog import LOCAL_DIRECTORY, list_templates

        return [
            (template.name, template.summary)
            for template in list_templates(LOCAL_DIRECTORY)
            if _SAFE.fullmatch(template.name)
        ]
    return []


def _daemon(context: typer.Context) -> ControlClient:
    from orchestrator.control import READ_ONLY_SOCKET
    from orchestrator.control.client import ControlClient

    options = context.find_root().params  # raw strings: no paths yet
    run_dir = Path(options.get("run_dir") or DEFAULT_RUN_DIR)
    path = options.get("socket") or run_dir / READ_ONLY_SOCKET
    return ControlClient(Path(path), timeout_s=DAEMON_TIMEOUT_S)


def _list_libvirt_names(context: typer.Context) -> Iterable[str]:
    from orchestrator.hypervisor.inspection import list_names
    from orchestrator.hypervisor.uri import choose_uri

    named = context.params.get("connect"), context.find_root().params.get("uri")
    return list_names(choose_uri(*named), timeout_s=LIBVIRT_TIMEOUT_S)


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


def _only_safe(names: Iterable[str]) -> list[str]:
    return [name for name in names if _SAFE.fullmatch(name)]
