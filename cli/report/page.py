# SPDX-License-Identifier: Apache-2.0
"""A report as one HTML page: tables and charts, without anything from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cli.output.tables.sheet import Cell
from cli.report.tables import build_sheets, format_moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

    from cli.output.report_documents import Report
    from cli.output.tables.sheet import Column, Field, Sheet

_STYLE = """
body { font: 14px/1.45 sans-serif; color: #222; max-width: 800px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.5em; }
h2 { font-size: 1.1em; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; font-size: 12px; }
th, td { text-align: left; padding: 3px 8px; border-bottom: 1px solid #ddd; }
th.right, td.right { text-align: right; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content auto; gap: 2px 1em; }
dt { color: #666; }
dd { margin: 0; }
svg { max-width: 100%; height: auto; display: block; margin: 1em 0; }
.note { color: #666; font-size: 12px; }
@page { margin: 15mm; }
@media print {
  body { margin: 0; max-width: none; }
  svg, tr, dl { break-inside: avoid; }
  h2 { break-after: avoid; }
  thead { display: table-header-group; }
}
"""
_TITLES = ("Domains", "Refused requests", "What keeps frequencies up, or down")


def build_page(
    report: Report, charts: Sequence[str], host: str, zone: tzinfo | None
) -> str:
    """Return the page.

    Args:
        report: by domain.
        charts: SVG elements.
        host: the host's name.
        zone: of the times; None: the local one.
    """
    begin, end = (format_moment(report[key], zone) for key in ("since", "until"))
    title = f"CPU frequencies of {host}"
    sheets = build_sheets(report, zone)
    names = [_TITLES[0]]
    names += [_TITLES[1]] if report["refusals"] else []
    names += [_TITLES[2]] if report["holds"] else []
    body = [f"<h1>{escape(title)}</h1>", *_facts(sheets[0])]
    body += charts
    for name, sheet in zip(names, sheets, strict=True):
        body += [f"<h2>{name}</h2>", *_table(sheet)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}, {begin} to {end}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _facts(sheet: Sheet) -> Iterator[str]:
    yield "<dl>"
    for name, cell in sheet.facts:
        yield f"<dt>{escape(name)}</dt><dd>{escape(cell.text)}</dd>"
    yield "</dl>"


def _table(sheet: Sheet) -> Iterator[str]:
    yield "<table><thead><tr>"
    yield "".join(_cell("th", column, column.title) for column in sheet.columns)
    yield "</tr></thead><tbody>"
    for row in sheet.rows:
        pairs = zip(sheet.columns, row, strict=True)
        cells = (_cell("td", column, _text(field)) for column, field in pairs)
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"
    for note in sheet.notes:
        yield f'<p class="note">{escape(note.text)}</p>'


def _cell(tag: str, column: Column, text: str) -> str:
    kind = ' class="right"' if column.is_right else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>"


def _text(field: Field) -> str:
    return field.text if isinstance(field, Cell) else ""
