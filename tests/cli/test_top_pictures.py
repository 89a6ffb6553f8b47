# SPDX-License-Identifier: Apache-2.0
"""Screens of `vmpower top`, compared with golden files.

`UPDATE_GOLDEN=1 pytest tests/cli` rewrites the files; review the differences.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest
from rich.console import Console

from cli.output.lines import Lines
from cli.top.history import MAX_SAMPLES, History
from cli.top.screen import render_screen
from cli.top.snapshot import Snapshot
from cli.top.view import Page, Sort, View
from orchestrator.control.documents import EventRecord, Status
from tests.cli.golden_files import check
from tests.control.fake_daemon import FakeDaemon
from tests.control.fake_host import FIREWALL, ROUTER, START, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable


def status_of(daemon: FakeDaemon) -> Status:
    return cast("Status", daemon.picture().model_dump(mode="json", by_alias=True))


def history_of(status: Status, count: int) -> History:
    """Sample a daemon with a growing number of requests and changing frequencies."""
    history = History()
    channels = [c for d in status["domains"] for c in d["channels"]]
    for at in range(count):
        for number, channel in enumerate(channels):
            channel["requests_total"] += at * (number + 1)
        for cpu in status["cpus"]:
            if cpu["claimed"]:
                cpu["current_khz"] = cpu["steps_khz"][-1 - at % len(STEPS)]
        history.add(status, float(at))
    return history


def snapshot_of(
    status: Status,
    samples: int = 20,
    *,
    events: int = 12,
    unreachable: str | None = None,
) -> Snapshot:
    return Snapshot(
        status=status,
        history=history_of(status, samples),
        events=tuple(
            EventRecord(
                id=second + 1,
                time=(START + timedelta(seconds=second)).isoformat(),
                kind="channel-state",
                domain="dpdk-fw",
                text=f"event {second}",
                facts={},
            )
            for second in range(events)
        ),
        host="host-1",
        now=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        unreachable=unreachable,
    )


@pytest.fixture
def status() -> Status:
    return status_of(FakeDaemon())


def draw(snapshot: Snapshot, view: View, width: int, height: int) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(Lines(render_screen(snapshot, view, width, height).lines), end="")
    text = cast("io.StringIO", console.file).getvalue()
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


VIEWS = {
    "overview": View(),
    "selected": View(cursor=ROUTER, sort=Sort.REFUSED),
    "filter": View(filter="rou", is_typing=True),
    "domain": View(page=Page.DOMAIN, cursor=FIREWALL),
    "warnings": View(page=Page.WARNINGS, is_paused=True),
    "help": View(page=Page.HELP),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize(("width", "height"), [(40, 20), (80, 24), (120, 40)])
def test_screens_match_their_golden_files(
    name: str, width: int, height: int, status: Status
) -> None:
    text = draw(snapshot_of(status), VIEWS[name], width, height)
    check(f"top_{name}_{width}", text)


def test_what_is_saved_is_shown_rather_than_a_long_uri(status: Status) -> None:
    status["libvirt"]["uri"] = "qemu:///system?socket=/run/user/1000/" + "x" * 30
    text = draw(snapshot_of(status), View(), 120, 40)
    assert "68.4 W, saving 6.3 W" in text
    assert "libvirt connected" in text
    assert "socket=" not in text
    assert "socket=" in draw(snapshot_of(status), View(), 200, 40)


def test_a_domain_that_is_shut_off_is_listed_on_request_and_not_on_the_map(
    status: Status,
) -> None:
    status["domains"][0] |= {"id": None, "state": "shut off"}
    snapshot = snapshot_of(status, events=0)
    hidden = draw(snapshot, View(), 120, 40)
    assert "Domains 1, 1 shut off: press a" in hidden
    assert "dpdk-fw:0" not in hidden
    lines = draw(snapshot, View(has_shut_off=True), 120, 40).splitlines()
    (first, last) = (line for line in lines if line[4:].startswith("dpdk-"))
    assert first.startswith(" a  dpdk-router")
    assert last.startswith("    dpdk-fw")
    assert " GHz" not in last
    page = draw(snapshot, View(page=Page.DOMAIN, cursor=FIREWALL), 120, 40)
    assert "floats" not in page
    assert "GHz turbo" not in page


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_frequency_of_a_domain_is_a_range_where_its_vcpus_differ(
    width: int, status: Status
) -> None:
    lines = draw(snapshot_of(apart(status), 1), View(), width, 24).splitlines()
    (row,) = (line for line in lines if line.startswith(" a  "))
    assert " 1.20-2.60 " in row


def apart(status: Status) -> Status:
    """Give the first two vCPUs of the first domain clock groups of their own."""
    for number, khz in ((2, 1_200_000), (3, 2_600_000)):
        status["cpus"][number] |= {
            "clock_group": number,
            "current_khz": khz,
            "claimed": False,
        }
        status["domains"][0]["vcpus"][number - 2]["clock_group"] = number
    return status


def test_a_vcpu_that_no_pinning_helps_does_not_float(status: Status) -> None:
    (*_, vcpu) = status["domains"][0]["vcpus"]
    view = VIEWS["domain"]
    assert "floats" in draw(snapshot_of(status), view, 80, 24)
    vcpu["refusal"] = "unmanaged"
    text = draw(snapshot_of(status), view, 80, 24)
    assert "not managed" in text
    assert "floats" not in text


def many(status: Status, count: int) -> Status:
    """Extend a status to this number of CPUs, each with a vCPU."""
    cpu, domain = status["cpus"][2], status["domains"][0]
    status["cpus"] = [
        {
            **cpu,
            "pcpu": at,
            "clock_group": at,
            "core": at // 2 * 2,
            "package": at * 2 // count,
            "node": at * 2 // count,
        }
        for at in range(count)
    ]
    vcpu, channel = domain["vcpus"][0], domain["channels"][0]
    status["domains"] = [
        {
            **domain,
            "problems": [],
            "uuid": f"{first}",
            "name": f"vm-{first:04}",
            "vcpus": [
                {**vcpu, "vcpu": at, "pcpus": [first + at], "clock_group": first + at}
                for at in range(8)
            ],
            "channels": [{**channel, "number": at} for at in range(8)],
        }
        for first in range(0, count, 8)
    ]
    return status


@pytest.mark.parametrize("count", [32, 128, 1024])
def test_screens_with_many_cpus_match_their_golden_files(
    count: int, status: Status
) -> None:
    snapshot = snapshot_of(many(status, count), 3)
    check(f"top_cpus_{count}", draw(snapshot, View(cursor="16"), 100, 40))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("count", [8, 1024])
@pytest.mark.parametrize(
    ("width", "height"), [(20, 5), (40, 10), (80, 24), (132, 43), (300, 100)]
)
def test_a_screen_has_exactly_the_size_of_the_terminal(
    view: View, count: int, width: int, height: int, status: Status
) -> None:
    lines = draw(snapshot_of(many(status, count), 2), view, width, height).splitlines()
    assert len(lines) == height
    assert max(map(len, lines)) <= width


def test_the_selected_domain_is_visible_in_a_list_of_any_length(status: Status) -> None:
    snapshot = snapshot_of(many(status, 1024), 1)
    for uuid in ("0", "512", "1016"):
        text = draw(snapshot, View(cursor=uuid), 80, 24)
        assert f"vm-{int(uuid):04}" in text


def test_the_last_page_of_a_long_domain_ends_with_its_last_line(
    status: Status,
) -> None:
    snapshot = snapshot_of(status, events=100)
    view = View(page=Page.DOMAIN, cursor=FIREWALL)
    limit = render_screen(snapshot, view, 80, 24).layout.scroll_limit
    last = View(page=Page.DOMAIN, cursor=FIREWALL, scroll=limit)
    assert draw(snapshot, last, 80, 24).splitlines()[-2].endswith("event 0")


def test_a_lost_daemon_is_reported_on_the_first_line(status: Status) -> None:
    snapshot = snapshot_of(
        status, unreachable="no vmpowerd answers at /run/vmpower/x.sock"
    )
    text = draw(snapshot, View(), 120, 24)
    assert "vmpowerd does not respond, retrying: no vmpowerd answers" in text
    assert "dpdk-fw" in text


def test_the_page_of_a_vanished_domain_reports_it(status: Status) -> None:
    view = View(page=Page.DOMAIN, cursor="nobody")
    assert "this domain no longer exists" in draw(snapshot_of(status), view, 80, 24)


def test_without_cpus_and_domains_a_screen_is_drawn(status: Status) -> None:
    empty = Status(**{**status, "domains": [], "cpus": [], "unmanaged_cpus": []})
    text = draw(snapshot_of(empty), View(), 80, 24)
    assert "no domain has a channel" in text


def test_names_and_events_cannot_inject_escape_sequences(status: Status) -> None:
    evil = "evil\x1b]0;pwned\x07\n\u202efoo"
    status["domains"][0]["name"] = evil
    snapshot = snapshot_of(status)
    snapshot.events[-1]["text"] = snapshot.events[-1]["domain"] = evil
    for view in VIEWS.values():
        text = draw(snapshot, view, 100, 40)
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "evil\ufffd]0;pwned" in draw(snapshot, View(), 100, 40)


@pytest.mark.parametrize(
    ("sort", "first"), [(Sort.NAME, "dpdk-fw"), (Sort.RATE, "dpdk-router")]
)
def test_domains_are_sorted_by_the_selected_order(
    sort: Sort, first: str, status: Status
) -> None:
    lines = draw(snapshot_of(status), View(sort=sort), 100, 40).splitlines()
    titles = next(at for at, line in enumerate(lines) if "Freq history" in line)
    assert first in lines[titles + 1]


def test_rates_are_requests_per_second_and_unknown_after_a_restart(
    status: Status,
) -> None:
    history, channel = History(), status["domains"][0]["channels"][0]

    def sample(total: int, at_s: float) -> float | None:
        channel["requests_total"] = total
        history.add(status, at_s)
        return history.rate(FIREWALL, 0)

    assert sample(100, 10.0) is None
    assert sample(150, 12.0) == 25.0
    assert sample(3, 13.0) is None
    assert sample(5, 14.0) == 2.0
    assert sample(5, 14.0) is None


def test_a_history_is_bounded_and_drops_vanished_domains(
    status: Status,
) -> None:
    history = history_of(status, MAX_SAMPLES + 50)
    assert len(history.domain_khz.last(FIREWALL, 10_000)) == MAX_SAMPLES
    history.add(Status(**{**status, "domains": []}), 1e6)
    assert history.domain_khz.last(FIREWALL, 10) == []
    assert history.domain_rates.latest(FIREWALL) is None


def render_colored(snapshot: Snapshot, build: Callable[[io.StringIO], Console]) -> str:
    file = io.StringIO()
    build(file).print(Lines(render_screen(snapshot, View(), 80, 24).lines), end="")
    return file.getvalue()


def test_without_color_the_height_of_a_bar_shows_the_frequency(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = render_colored(
        snapshot_of(status),
        lambda file: Console(file=file, force_terminal=True, width=80),
    )
    assert "\x1b[3" not in text
    assert "▁" in text
    assert "█" in text
