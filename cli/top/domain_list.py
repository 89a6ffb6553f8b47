# SPDX-License-Identifier: Apache-2.0
"""The list of domains: frequencies and request rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.text import Text

from cli.output.lines import ScreenColumn, fit, header, row
from cli.output.tables.cells import plural
from cli.output.tables.run_state import is_active
from cli.top.charts import frequency_range, rate_spark, spark
from cli.top.snapshot import (
    Snapshot,
    count_refused,
    domain_letters,
    listed_domains,
    managed_domains,
)
from cli.top.view import Sort
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from cli.top.view import View
    from orchestrator.control.documents import Domain

_FREQUENCIES = "Freq history"
_RATES = "Req history"
_WATTS, _SAVED = "Watts", "W saved"
_COLUMNS = (
    ScreenColumn(title="", width=1),
    ScreenColumn(title=Sort.NAME, width=14, stretch=10),
    ScreenColumn(title="State", width=8, rank=5),
    ScreenColumn(title="vCPUs", width=5, is_right=True, rank=4),
    ScreenColumn(title="Open", width=5, is_right=True, rank=6),
    ScreenColumn(title=Sort.FREQUENCY, width=9, is_right=True),
    ScreenColumn(title=_FREQUENCIES, width=12, rank=2, stretch=28),
    ScreenColumn(title=Sort.RATE, width=6, is_right=True),
    ScreenColumn(title=_RATES, width=15, rank=3, stretch=24),
    ScreenColumn(title=_WATTS, width=7, is_right=True, rank=8),
    ScreenColumn(title=_SAVED, width=7, is_right=True, rank=2),
    ScreenColumn(title="Requests", width=11, is_right=True, rank=7),
    ScreenColumn(title=Sort.REFUSED, width=7, is_right=True, rank=1),
)


def domain_list(snapshot: Snapshot, view: View, width: int, height: int) -> list[Text]:
    """List domains; the selected one is always visible."""
    domains, columns = listed_domains(snapshot, view), fit(_COLUMNS, width)
    seen = _window(domains, view.cursor, height - 1)
    letters = domain_letters(snapshot)
    widths = {column.title: column.width for column in columns}
    lines = [header(columns, view.sort)]
    for domain in seen:
        line = row(columns, _cells(snapshot, domain, letters, widths))
        if domain["uuid"] == view.cursor:
            line.stylize("reverse")
        lines.append(line)
    if not domains:
        lines.append(_placeholder(view, managed_domains(snapshot)))
    return lines


def list_title(snapshot: Snapshot, view: View) -> Text:
    """Describe which domains are listed."""
    managed, shown = managed_domains(snapshot), listed_domains(snapshot, view)
    title = Text.assemble(("Domains ", "bold"), (f"{len(shown)}", "dim"))
    hidden = 0 if view.has_shut_off else sum(not is_active(it) for it in managed)
    if len(shown) != len(managed) - hidden:
        title.append(f" of {len(managed) - hidden}", "dim")
    if view.filter or view.is_typing:
        title.append(", filter ", "dim").append(printable(view.filter), "yellow")
    if hidden:
        title.append(f", {hidden} shut off: press a", "dim")
    others = len(snapshot.status["domains"]) - len(managed)
    if others:
        text = f", {plural(others, 'other')} without channels or policies"
        title.append(text, "dim")
    return title


def rate_text(rate: float | None) -> Text:
    """Format requests per second."""
    if rate is None:
        return Text("-", "dim")
    return Text(f"{rate:,.0f}", "" if rate else "dim")


def count_text(number: int, style: str = "") -> Text:
    """Format a count; zero is dimmed."""
    return Text(f"{number:,}", style if number else "dim")


def _watts_text(
    domain: Domain, key: Literal["watts", "saved_watts"], style: str = ""
) -> Text:
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    energy = domain.get("energy")
    if energy is None:
        return Text("-", "dim")
    return Text(f"{energy[key]:.1f}", style if energy[key] else "dim")


def _window(domains: list[Domain], cursor: str | None, room: int) -> list[Domain]:
    """Return the visible domains, around the selected one."""
    uuids = [domain["uuid"] for domain in domains]
    at = uuids.index(cursor) if cursor in uuids else 0
    first = max(0, min(at - room // 2, len(domains) - room))
    return domains[first : first + max(0, room)]


def _placeholder(view: View, managed: list[Domain]) -> Text:
    if view.filter:
        return Text("   no matching domain", "dim")
    if managed:
        return Text("   no domain is running", "dim")
    return Text(
        "   no domain has a channel or a policy; see 'vmpower domain onboard'", "dim"
    )


def _range(snapshot: Snapshot, uuid: str) -> str:
    """Format the frequencies of its vCPUs: `2.40 GHz`, or `1.20-2.40` (GHz)."""
    low_khz, high_khz = snapshot.history.domain_ranges.get(uuid, (None, None))
    highest = format_khz(high_khz)
    if low_khz is None or high_khz is None or format_khz(low_khz) == highest:
        return highest
    return f"{low_khz / 1_000_000:.2f}-{high_khz / 1_000_000:.2f}"


def _cells(
    snapshot: Snapshot, domain: Domain, letters: dict[str, str], widths: dict[str, int]
) -> dict[str, Text]:
    uuid, history = domain["uuid"], snapshot.history
    channels = domain["channels"]
    opened = sum(channel["state"] == "open" for channel in channels)
    is_running = domain["state"] == "running"
    # A column that was dropped has no width.
    khz_width, rates_width = widths.get(_FREQUENCIES, 0), widths.get(_RATES, 0)
    return {
        "": Text(letters.get(uuid, ""), "dim"),
        Sort.NAME: Text(printable(domain["name"]), "bold"),
        "State": Text(domain["state"], "" if is_running else "dim"),
        "vCPUs": count_text(len(domain["vcpus"])),
        "Open": Text(
            f"{opened}/{len(channels)}", "" if opened == len(channels) else "yellow"
        ),
        Sort.FREQUENCY: Text(_range(snapshot, uuid)),
        _FREQUENCIES: spark(
            history.domain_khz.last(uuid, khz_width),
            khz_width,
            frequency_range(snapshot.status["cpus"]),
        ),
        Sort.RATE: rate_text(history.domain_rates.latest(uuid)),
        _RATES: rate_spark(history.domain_rates.last(uuid, rates_width), rates_width),
        _WATTS: _watts_text(domain, "watts"),
        _SAVED: _watts_text(domain, "saved_watts", "green"),
        "Requests": count_text(sum(c["requests_total"] for c in channels)),
        Sort.REFUSED: count_text(count_refused(domain), "red"),
    }
