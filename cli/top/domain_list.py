"""The list of domains: how fast they are, and how often they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.lines import Slot, fit, head, row
from cli.output.tables.words import plural
from cli.top.board import Board, listed, marks, refused, taking_part
from cli.top.charts import clock_ends, rate_spark, spark
from cli.top.view import Sort
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from cli.top.view import View
    from orchestrator.control.documents import Domain

_CLOCKS = "Clock lately"
_RATES = "Requests lately"
_SLOTS = (
    Slot(title="", width=1),
    Slot(title=Sort.NAME, width=14, stretch=10),
    Slot(title="State", width=8, rank=5),
    Slot(title="vCPUs", width=5, is_right=True, rank=4),
    Slot(title="Open", width=5, is_right=True, rank=6),
    Slot(title=Sort.CLOCK, width=8, is_right=True),
    Slot(title=_CLOCKS, width=12, rank=2, stretch=28),
    Slot(title=Sort.RATE, width=6, is_right=True),
    Slot(title=_RATES, width=15, rank=3, stretch=25),
    Slot(title="Requests", width=11, is_right=True, rank=7),
    Slot(title=Sort.REFUSED, width=7, is_right=True, rank=1),
)


def domain_list(board: Board, view: View, width: int, height: int) -> list[Text]:
    """List domains under their titles; the selected one is always among them."""
    domains, slots = listed(board, view), fit(_SLOTS, width)
    seen = _window(domains, view.cursor, height - 1)
    letters, widths = marks(board), {slot.title: slot.width for slot in slots}
    lines = [head(slots, view.sort)]
    for domain in seen:
        line = row(slots, _cells(board, domain, letters, widths))
        if domain["uuid"] == view.cursor:
            line.stylize("reverse")
        lines.append(line)
    if not domains:
        lines.append(_nothing(view))
    return lines


def list_title(board: Board, view: View) -> Text:
    """Say which domains are listed."""
    some, shown = taking_part(board), listed(board, view)
    title = Text.assemble(("Domains ", "bold"), (f"{len(shown)}", "dim"))
    if len(shown) != len(some):
        title.append(f" of {len(some)}", "dim")
    if view.filter or view.is_typing:
        title.append(" like ", "dim").append(printable(view.filter), "yellow")
    others = len(board.status["domains"]) - len(some)
    if others:
        words = f", {plural(others, 'other')} without channels or policies"
        title.append(words, "dim")
    return title


def rate_text(rate: float | None) -> Text:
    """Write requests per second."""
    if rate is None:
        return Text("-", "dim")
    return Text(f"{rate:,.0f}", "" if rate else "dim")


def count_text(number: int, style: str = "") -> Text:
    """Write a count, quietly if there is none."""
    return Text(f"{number:,}", style if number else "dim")


def _window(domains: list[Domain], cursor: str | None, room: int) -> list[Domain]:
    """Return those that have room, around the selected one."""
    uuids = [domain["uuid"] for domain in domains]
    at = uuids.index(cursor) if cursor in uuids else 0
    first = max(0, min(at - room // 2, len(domains) - room))
    return domains[first : first + max(0, room)]


def _nothing(view: View) -> Text:
    if view.filter:
        return Text("   no domain has this in its name", "dim")
    return Text(
        "   no domain has a channel or a policy: see 'vmpower domain onboard'", "dim"
    )


def _cells(
    board: Board, domain: Domain, letters: dict[str, str], widths: dict[str, int]
) -> dict[str, Text]:
    uuid, history = domain["uuid"], board.history
    khz = history.domain_clocks.latest(uuid)
    channels = domain["channels"]
    opened = sum(channel["state"] == "open" for channel in channels)
    is_running = domain["state"] == "running"
    # A column that was left out for want of room is as wide as nothing.
    clocks, rates = widths.get(_CLOCKS, 0), widths.get(_RATES, 0)
    return {
        "": Text(letters.get(uuid, ""), "dim"),
        Sort.NAME: Text(printable(domain["name"]), "bold"),
        "State": Text(domain["state"], "" if is_running else "dim"),
        "vCPUs": count_text(len(domain["vcpus"])),
        "Open": Text(
            f"{opened}/{len(channels)}", "" if opened == len(channels) else "yellow"
        ),
        Sort.CLOCK: Text(format_khz(None if khz is None else round(khz))),
        _CLOCKS: spark(
            history.domain_clocks.last(uuid, clocks),
            clocks,
            clock_ends(board.status["cpus"]),
        ),
        Sort.RATE: rate_text(history.domain_rates.latest(uuid)),
        _RATES: rate_spark(history.domain_rates.last(uuid, rates), rates),
        "Requests": count_text(sum(c["requests_total"] for c in channels)),
        Sort.REFUSED: count_text(refused(domain), "red"),
    }
