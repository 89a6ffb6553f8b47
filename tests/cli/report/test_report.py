# SPDX-License-Identifier: Apache-2.0
"""`vmpower report`, from a real history behind the fake daemon."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from tests.cli.report.histories import MINUTES, fill

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output.report_documents import Report
    from tests.cli.conftest import Vmpower
    from tests.control.fake_daemon import FakeDaemon

KWH = 3_600_000.0


@pytest.fixture
def filled(daemon: FakeDaemon, tmp_path: Path) -> FakeDaemon:
    daemon.store = fill(tmp_path)
    return daemon


def report_of(vmpower: Vmpower, *words: str) -> Report:
    done = vmpower("report", *words, "-o", "json")
    assert done.exit_code == 0, done.output
    document: Report = json.loads(done.stdout)
    return document


@pytest.mark.usefixtures("filled")
def test_a_report_by_domain_has_sums_and_what_saved_most_first(
    vmpower: Vmpower,
) -> None:
    report = report_of(vmpower, "--since", "2h")
    assert [row["domain"] for row in report["rows"]] == ["dpdk-fw", "<router>"]
    row = report["rows"][0]
    assert row["running_s"] == 60 * MINUTES
    assert row["requests_total"] == 100 * MINUTES
    assert row["kwh"] == pytest.approx(600 * MINUTES / KWH)
    assert row["saved_kwh"] == pytest.approx(300 * MINUTES / KWH)
    assert row["saved_percent"] == pytest.approx(100 * 300 / 900)
    # 90 s at 1.2 GHz and 30 s at 3 GHz.
    assert row["mean_khz"] == 1_650_000
    assert row["frequencies"][0] == {"khz": 1_200_000, "core_h": pytest.approx(1.5)}
    assert report["host"]["source"] == "powercap"
    assert report["host"]["kwh"] == pytest.approx(6_000 * MINUTES / KWH)
    assert report["host"]["saved_money"] == pytest.approx(0.005 * 0.25)
    assert report["host"]["saved_co2_kg"] == pytest.approx(0.005 * 0.4)
    assert [(it["domain"], it["cause"]) for it in report["holds"]] == [
        ("<router>", "observe"),
        ("dpdk-fw", "lower-limit"),
    ]
    assert report["holds"][0]["kwh"] == pytest.approx(500 * MINUTES / KWH)
    assert report["refusals"][0] == {
        "domain": "<router>",
        "uuid": report["rows"][1]["uuid"],
        "reason": "observe",
        "requests": 3 * MINUTES,
    }


@pytest.mark.usefixtures("filled")
def test_what_if_counts_every_request_as_granted(vmpower: Vmpower) -> None:
    report = report_of(vmpower, "--since", "2h", "--what-if")
    rows = {row["domain"]: row for row in report["rows"]}
    assert rows["<router>"]["saved_kwh"] == pytest.approx(400 * MINUTES / KWH)
    assert rows["<router>"]["kwh"] == pytest.approx(500 * MINUTES / KWH)
    # 3 J of what is saved; 6 of 900 J are uncertain, and so is that share of 400 J.
    assert rows["<router>"]["saved_kwh_error"] == pytest.approx(
        (3 + 400 * 6 / 900) * MINUTES / KWH
    )
    # HIGH of the minutes would have been 1.2 GHz.
    assert rows["<router>"]["mean_khz"] == 1_200_000
    assert report["host"]["saved_kwh"] == pytest.approx(700 * MINUTES / KWH)
    assert report["host"]["kwh"] == pytest.approx(5_600 * MINUTES / KWH)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("by", ["hour", "day"])
def test_hours_and_days_add_up_to_the_whole(vmpower: Vmpower, by: str) -> None:
    report = report_of(vmpower, "--since", "3h", "--by", by)
    assert 1 <= len(report["rows"]) <= 2
    assert all(row["domain"] is None for row in report["rows"])
    total = sum(row["saved_kwh"] for row in report["rows"])
    assert total == pytest.approx(300 * MINUTES / KWH)
    since = [row["since"] for row in report["rows"]]
    assert since == sorted(since, key=str)
    for text in since:
        assert text is not None
        assert ":00:00" in text


@pytest.mark.usefixtures("filled")
def test_only_some_domains(vmpower: Vmpower) -> None:
    report = report_of(vmpower, "<router>", "--since", "2h")
    assert [row["domain"] for row in report["rows"]] == ["<router>"]
    both = report_of(vmpower, "dpdk-fw", "<router>", "--since", "2h")
    assert len(both["rows"]) == 2
    failed = vmpower("report", "nobody")
    assert failed.exit_code == 1
    assert "no such domain: 'nobody'" in failed.stderr


@pytest.mark.usefixtures("filled")
def test_comma_separated_values_have_a_header_and_a_line_for_each_row(
    vmpower: Vmpower,
) -> None:
    text = vmpower("report", "--since", "2h", "-o", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["domain"] for row in rows] == ["dpdk-fw", "<router>"]
    assert float(rows[0]["saved_kwh"]) == pytest.approx(300 * MINUTES / KWH)


@pytest.mark.usefixtures("filled")
def test_tables_show_figures_refusals_and_reasons(vmpower: Vmpower) -> None:
    text = vmpower("report", "--since", "2h").stdout
    assert "measured (powercap)" in text
    assert "5.00 ±0.05 Wh" in text
    assert "33.3 %" in text
    # Five watt-hours at 0.25 EUR and 400 g for each kilowatt-hour.
    assert "0.00 EUR, 2 g CO2" in text
    assert "mode observe: its requests are not granted" in text
    assert "would have saved" not in text
    assert "would have saved" in vmpower("report", "--since", "2h", "--what-if").stdout


class Tags(HTMLParser):
    """Collects the tags of a page that refer to something else."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "rect", "path", "polyline", "circle"):
            self.open.append(tag)
        self.references += [
            f"{tag} {name}" for name, _ in attrs if name in ("src", "href")
        ]
        if tag in ("script", "link", "img", "iframe"):
            self.references.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [
            f"{tag} {name}" for name, _ in attrs if name in ("src", "href")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.usefixtures("filled")
def test_a_page_has_charts_and_tables_and_nothing_from_elsewhere(
    vmpower: Vmpower, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    done = vmpower("report", "--since", "2h", "--html", str(page))
    assert (done.exit_code, done.output) == (0, "")
    text = page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert (tags.references, tags.open) == ([], [])
    assert text.count("<svg ") == 5
    assert "&lt;router&gt;" in text
    assert "<router>" not in text
    assert "@media print" in text


@pytest.mark.usefixtures("filled")
def test_charts_are_one_svg_document(vmpower: Vmpower, tmp_path: Path) -> None:
    path = tmp_path / "report.svg"
    assert vmpower("report", "--since", "2h", "--svg", str(path)).exit_code == 0
    root = ElementTree.parse(path).getroot()
    svg = "{http://www.w3.org/2000/svg}"
    titles = [chart.get("aria-label") for chart in root.iter(f"{svg}svg")][1:]
    assert titles == [
        "Energy saved, by domain, in Wh",
        "Mean power of the packages, in W",
        "Core hours by frequency",
        "Refused requests by reason",
        "Energy that could be saved at most, by reason, in Wh; estimated",
    ]
    failed = vmpower("report", "--svg", str(tmp_path / "none" / "report.svg"))
    assert "cannot write" in failed.stderr


def test_a_history_without_anything_is_an_empty_report(
    vmpower: Vmpower, tmp_path: Path
) -> None:
    text = vmpower("report").stdout
    assert "not accounted for" in text
    page = tmp_path / "empty.html"
    assert vmpower("report", "--html", str(page)).exit_code == 0
    assert "<svg" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--since", "soon"), "invalid time 'soon'"),
        (("--since", "1h", "--until", "2h"), "invalid period"),
        (("--by", "week"), "'week' is not one of"),
    ],
)
def test_invalid_periods_are_usage_errors(
    vmpower: Vmpower, words: tuple[str, ...], message: str
) -> None:
    failed = vmpower("report", *words)
    assert failed.exit_code == 2
    assert message in failed.stderr
