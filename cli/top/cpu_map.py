# SPDX-License-Identifier: Apache-2.0
"""The map of CPUs: the frequency of each clock group, and the domains on it.

Three densities: a tile with names for each clock group, a block and a letter for each
CPU, or only a block. The first one that fits is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from rich.text import Text

from cli.output.lines import GAP, truncate
from cli.output.tables.cpus import group_cpus
from cli.output.tables.run_state import is_active
from cli.top.charts import (
    EIGHTHS,
    HEAT,
    QUIET,
    eighth,
    frequency_range,
    heat,
    meter,
    runs,
    share_of,
)
from cli.top.snapshot import NO_LETTER, Snapshot, domain_letters
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cli.top.view import View
    from orchestrator.control.documents import Cpu, Domain

    Users: TypeAlias = dict[str, tuple[Domain, list[int]]]
    """The domains on some CPUs with their vCPUs, by UUID."""
    UsersByCpu: TypeAlias = dict[int, Users]

_TILE_CELLS = 30
_METER_CELLS = 6
_LABEL_CELLS = 6
_SPACED_EVERY = 8
_UNUSED = "·"


def cpu_map(snapshot: Snapshot, view: View, width: int, height: int) -> list[Text]:
    """Draw the map in at most `height` lines."""
    users_by_cpu = _users_by_cpu(snapshot.status["domains"])
    packages = _packages(sorted(group_cpus(snapshot.status["cpus"]), key=_location))
    titles = len(packages) if len(packages) > 1 else 0
    columns = _tile_columns(width)
    # Decided by size, so that a thousand tiles are not drawn in vain.
    if titles + sum(-(-len(p) // columns) for p in packages) <= height:
        return _tiles(packages, users_by_cpu, view, width)
    blocks = [
        _blocks(package, users_by_cpu, snapshot, view, width) for package in packages
    ]
    has_letters = titles + 2 * sum(map(len, blocks)) <= height
    lines: list[Text] = []
    for package, rows in zip(packages, blocks, strict=True):
        lines += _socket_title(package, packages)
        for above, below in rows:
            lines += (above, below) if has_letters else (above,)
    if len(lines) > height:
        more = f" {len(lines) - height + 1} more lines, in a larger terminal"
        lines = [*lines[: height - 1], Text(more, "dim")]
    return lines


def legend(cpus: list[Cpu]) -> Text:
    """Explain heights and colors: the lowest and the highest frequency."""
    if not cpus:
        return Text()
    lowest, highest = frequency_range(cpus)
    cells = (
        (block, HEAT[at * len(HEAT) // len(EIGHTHS)])
        for at, block in enumerate(EIGHTHS)
    )
    text = Text.assemble((f"{_ghz(lowest)} ", "dim")).append_text(runs(cells))
    return text.append(f" {_ghz(highest)} GHz", "dim")


def _users_by_cpu(domains: Iterable[Domain]) -> UsersByCpu:
    """Map each CPU to the active domains whose vCPUs are pinned to it."""
    found: UsersByCpu = {}
    for domain in filter(is_active, domains):
        for vcpu in domain["vcpus"]:
            for pcpu in vcpu["pcpus"] if vcpu["controllable"] else ():
                users = found.setdefault(pcpu, {})
                users.setdefault(domain["uuid"], (domain, []))[1].append(vcpu["vcpu"])
    return found


def _location(group: list[Cpu]) -> tuple[int, int, int, int]:
    """Return a key that sorts by socket, node and core: SMT siblings are adjacent."""
    package, node = group[0]["package"], group[0]["node"]
    return (package or 0, node or 0, group[0]["core"] or 0, group[0]["clock_group"])


def _packages(groups: list[list[Cpu]]) -> list[list[list[Cpu]]]:
    found: dict[int | None, list[list[Cpu]]] = {}
    for group in groups:
        found.setdefault(group[0]["package"], []).append(group)
    return list(found.values())


def _socket_title(
    package: list[list[Cpu]], packages: list[list[list[Cpu]]]
) -> list[Text]:
    """Title a socket and its NUMA nodes, if there is more than one socket."""
    if len(packages) == 1:
        return []
    nodes = {group[0]["node"] for group in package}
    known = {node for node in nodes if node is not None}
    title = f"socket {package[0][0]['package']}"
    if known:
        title += f", NUMA node {format_cpulist(known)}"
    return [Text(title, "dim")]


def _share(cpu: Cpu) -> float | None:
    khz, steps = cpu["current_khz"], cpu["steps_khz"]
    return None if khz is None else share_of(khz, steps[-1], steps[0])


def _tile_columns(width: int) -> int:
    return max(1, (width + GAP) // (_TILE_CELLS + GAP))


def _tiles(
    packages: list[list[list[Cpu]]],
    users_by_cpu: UsersByCpu,
    view: View,
    width: int,
) -> list[Text]:
    columns = _tile_columns(width)
    cells = (width + GAP) // columns - GAP
    groups = [group for package in packages for group in package]
    label = max((len(_list(group)) for group in groups), default=0)
    brackets = _sibling_brackets(groups)
    lines: list[Text] = []
    for package in packages:
        lines += _socket_title(package, packages)
        rows = -(-len(package) // columns)
        for at in range(rows):
            line = Text()
            # Column by column, so that neighbors are adjacent.
            for column, place in enumerate(range(at, len(package), rows)):
                line.pad_right(max(0, column * (cells + GAP) - line.cell_len))
                tile = Text(brackets.get(package[place][0]["pcpu"], ""), QUIET)
                tile.append_text(_tile(package[place], users_by_cpu, view, label))
                truncate(tile, cells)
                line.append_text(tile)
            lines.append(line)
    return lines


def _sibling_brackets(groups: list[list[Cpu]]) -> dict[int, str]:
    """Draw brackets around SMT siblings in different clock groups, by first CPU."""
    cores: dict[tuple[int | None, int | None], list[int]] = {}
    for group in groups:
        place = (group[0]["package"], group[0]["core"])
        cores.setdefault(place, []).append(group[0]["pcpu"])
    if all(len(siblings) == 1 for siblings in cores.values()):
        return {}
    brackets = {}
    for first, *others in cores.values():
        brackets[first] = "╭" if others else " "
        brackets |= dict.fromkeys(others, "│")
        brackets |= dict.fromkeys(others[-1:], "╰")
    return brackets


def _tile(
    group: list[Cpu],
    users_by_cpu: UsersByCpu,
    view: View,
    label: int,
) -> Text:
    cpu, share = group[0], _share(group[0])
    tile = Text.assemble((f"{_list(group):>{label}} ", "bold"))
    tile.append_text(meter(share, _METER_CELLS, _style(cpu, share)))
    is_overridden = cpu["override_khz"] is not None
    style = "yellow" if is_overridden else "" if cpu["claimed"] else "dim"
    tile.append(f" {_ghz(cpu['current_khz'])}", style)
    tile.append("!" if is_overridden else " ", "yellow").append(" ")
    users: Users = {}
    for each in group:
        for uuid, (domain, vcpus) in users_by_cpu.get(each["pcpu"], {}).items():
            users.setdefault(uuid, (domain, []))[1].extend(vcpus)
    for uuid, (domain, vcpus) in users.items():
        is_selected = uuid == view.cursor
        tile.append(printable(domain["name"]), "reverse" if is_selected else "")
        tile.append(f":{format_cpulist(set(vcpus))} ", "dim")
    return tile


def _blocks(
    groups: list[list[Cpu]],
    users_by_cpu: UsersByCpu,
    snapshot: Snapshot,
    view: View,
    width: int,
) -> list[tuple[Text, Text]]:
    """Draw CPUs as blocks, each with the letter of its domain below."""
    letters, lines = domain_letters(snapshot), list[tuple[Text, Text]]()
    room = width - _LABEL_CELLS
    per_line = max(1, room * _SPACED_EVERY // (_SPACED_EVERY + 1))
    per_line -= per_line % _SPACED_EVERY if per_line > _SPACED_EVERY else 0
    cpus = [cpu for group in groups for cpu in group]
    for start in range(0, len(cpus), per_line):
        some = cpus[start : start + per_line]
        label = f"{some[0]['pcpu']:>{_LABEL_CELLS - 1}} "
        above = runs(_spaced(_block(cpu, users_by_cpu, view) for cpu in some))
        below = runs(
            _spaced(_letter(users_by_cpu.get(cpu["pcpu"], {}), letters) for cpu in some)
        )
        lines.append(
            (
                Text.assemble((label, "dim"), above),
                Text(" " * _LABEL_CELLS).append_text(below),
            )
        )
    return lines


def _spaced(cells: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for at, cell in enumerate(cells):
        if at and at % _SPACED_EVERY == 0:
            yield (" ", "")
        yield cell


def _block(
    cpu: Cpu,
    users_by_cpu: UsersByCpu,
    view: View,
) -> tuple[str, str]:
    share = _share(cpu)
    style = _style(cpu, share)
    if view.cursor in users_by_cpu.get(cpu["pcpu"], {}):
        style += " reverse"
    return ("?" if share is None else eighth(share), style)


def _letter(users: Users, letters: dict[str, str]) -> tuple[str, str]:
    if not users:
        return (_UNUSED, QUIET)
    if len(users) > 1:
        return ("*", "bold")
    return (letters.get(next(iter(users)), NO_LETTER), "")


def _style(cpu: Cpu, share: float | None) -> str:
    if share is None or not cpu["claimed"]:
        return QUIET
    return heat(share)


def _list(group: list[Cpu]) -> str:
    return format_cpulist(cpu["pcpu"] for cpu in group)


def _ghz(khz: float | None) -> str:
    return "   -" if khz is None else f"{khz / 1_000_000:.2f}"
