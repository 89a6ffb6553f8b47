# SPDX-License-Identifier: Apache-2.0
"""Tables, compared with golden files.

`UPDATE_GOLDEN=1 pytest tests/cli/test_tables.py` rewrites the files; review the
differences before you commit them.
"""

from __future__ import annotations

import io
from datetime import UTC
from typing import TYPE_CHECKING, cast

import pytest
from rich.console import Console

from cli.output.tables.cells import format_duration
from cli.output.tables.channels import build_channels
from cli.output.tables.cpus import (
    build_clock_group,
    build_cpus,
    describe_override,
    describe_release,
    group_cpus,
    name_group,
)
from cli.output.tables.domains import build_domain, build_domains
from cli.output.tables.events import render_event
from cli.output.tables.plain import render_plain
from cli.output.tables.sheet import Bar, Cell, Column, Sheet
from cli.output.tables.status import build_status
from cli.output.tables.styled import fit, render_styled
from orchestrator.control.documents import (
    ChannelList,
    CpuList,
    DomainChannel,
    DomainList,
    EventRecord,
    Status,
)
from tests.cli.golden_files import check
from tests.control.fake_daemon import FakeDaemon

if TYPE_CHECKING:
    from collections.abc import Callable


def status_of(daemon: FakeDaemon) -> Status:
    return cast("Status", daemon.picture().model_dump(mode="json", by_alias=True))


@pytest.fixture
def status() -> Status:
    return status_of(FakeDaemon())


def channels_of(status: Status) -> ChannelList:
    return ChannelList(
        channels=[
            DomainChannel(domain=domain["name"], uuid=domain["uuid"], **channel)
            for domain in status["domains"]
            for channel in domain["channels"]
        ]
    )


def cpus_of(status: Status) -> CpuList:
    return CpuList(cpus=status["cpus"], unmanaged_cpus=status["unmanaged_cpus"])


SHEETS: dict[str, Callable[[Status], tuple[Sheet, ...]]] = {
    "status": lambda status: build_status(status, UTC),
    "domains": lambda status: build_domains(DomainList(domains=status["domains"])),
    "domains_all": lambda status: build_domains(
        DomainList(domains=status["domains"]), has_shut_off=True
    ),
    "domain": lambda status: build_domain(status["domains"][0], status["cpus"]),
    "channels": lambda status: build_channels(channels_of(status)),
    "cpus": lambda status: build_cpus(cpus_of(status), status["domains"]),
    "clock_group": lambda status: (
        build_clock_group(group_cpus(status["cpus"])[1], status["domains"]),
    ),
}


def draw(sheets: tuple[Sheet, ...], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render_styled(sheets, width))
    text = cast("io.StringIO", console.file).getvalue()
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@pytest.mark.parametrize("name", SHEETS)
def test_plain_tables_match_their_golden_files(name: str, status: Status) -> None:
    lines = render_plain(SHEETS[name](status))
    check(name, "".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("name", SHEETS)
def test_drawn_tables_match_their_golden_files(name: str, status: Status) -> None:
    check(f"{name}_drawn", draw(SHEETS[name](status), 100))


@pytest.mark.parametrize("name", SHEETS)
@pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
def test_no_drawn_line_is_wider_than_the_terminal(
    name: str, width: int, status: Status
) -> None:
    lines = draw(SHEETS[name](status), width).splitlines()
    assert max(map(len, lines)) <= width


@pytest.fixture
def shut_off(status: Status) -> Status:
    """Return a status whose first domain is shut off."""
    status["domains"][0] |= {"id": None, "state": "shut off"}
    return status


def test_domains_that_are_shut_off_are_listed_on_request(shut_off: Status) -> None:
    text = "\n".join(render_plain(build_status(shut_off, UTC)))
    assert " dpdk-fw  " not in text
    assert "1 domain is shut off: see 'vmpower status --all'" in text
    # What is wrong with its description stays visible, its vCPUs' state does not.
    assert "dpdk-fw: metadata, line 7" in text
    assert "not controllable" not in text


def test_domains_that_are_shut_off_come_last_and_without_a_frequency(
    shut_off: Status,
) -> None:
    lines = render_plain(build_status(shut_off, UTC, has_shut_off=True))
    names = ("dpdk-fw", "dpdk-router")
    rows = [line.split() for line in lines if line[1:13].rstrip() in names]
    assert [row[0] for row in rows] == ["dpdk-router"] * 3 + ["dpdk-fw"] * 3
    assert all("GHz" not in row for row in rows[3:])
    page = "\n".join(
        render_plain(build_domain(shut_off["domains"][0], shut_off["cpus"]))
    )
    assert " 0      2      -           -   " in page


def test_only_active_domains_use_cpus(shut_off: Status) -> None:
    text = "\n".join(render_plain(build_cpus(cpus_of(shut_off), shut_off["domains"])))
    assert "dpdk-router" in text
    assert "dpdk-fw" not in text


def test_a_narrow_status_keeps_the_main_columns(
    status: Status,
) -> None:
    text = draw(build_status(status, UTC), 62)
    for word in ("dpdk-fw", "2.60 GHz", "12,345", "contended", "simulated"):
        assert word in text


def test_the_status_shows_how_long_libvirt_is_disconnected() -> None:
    daemon = FakeDaemon()
    daemon.lose_libvirt()
    text = "\n".join(render_plain(build_status(status_of(daemon), UTC)))
    assert (
        "qemu:///system, not connected: connection refused; "
        "domains as of 2026-03-01 12:00:00"
    ) in text


def test_the_status_without_domains_and_cpus_is_printed(
    status: Status,
) -> None:
    empty = Status(**{**status, "domains": [], "cpus": [], "unmanaged_cpus": []})
    empty["energy"] = None
    assert render_plain(build_status(empty, UTC))[2:] == [
        " CPUs:    0 in 0 clock groups, 0 taken"
    ]


def test_an_override_is_shown_with_the_command_that_releases_it(status: Status) -> None:
    for cpu in status["cpus"][2:4]:
        cpu["override_khz"] = 1_800_000
    text = draw(build_status(status, UTC), 100)
    assert "CPU 2-3: overridden; release with 'vmpower cpu release 2-3'" in text
    assert "1 overridden" in text


def test_vcpus_with_the_same_problem_have_one_warning(status: Status) -> None:
    for vcpu in status["domains"][0]["vcpus"][:2]:
        vcpu["reason"] = "no governor can be set"
    notes = [
        line.strip(" •\n")
        for line in draw(build_status(status, UTC), 120).splitlines()
        if "no governor" in line
    ]
    assert notes == [
        ("dpdk-fw: vCPUs 0-1 are not controllable: no governor can be set")
    ]


def test_what_holds_a_frequency_up_is_shown_wherever_the_group_is(
    status: Status,
) -> None:
    reason = "held up by CPU 6 (performance, not managed)"
    for cpu in status["cpus"][2:4]:
        cpu["reason"], cpu["coordinated_cpus"] = reason, [6, 7]
    for name in ("status", "domain"):
        assert f"CPU 2-3: {reason}" in draw(SHEETS[name](status), 100)
    group = draw(SHEETS["clock_group"](status), 100)
    assert reason in group
    assert "Coordinated with CPUs 6-7" in " ".join(group.split())


def test_real_cpus_are_not_marked_as_simulated(status: Status) -> None:
    for cpu in status["cpus"]:
        cpu["simulated"] = False
    for build in SHEETS.values():
        assert "simulated" not in draw(build(status), 200)


def test_a_domain_name_cannot_inject_escape_sequences(status: Status) -> None:
    status["domains"][0]["name"] = "evil\x1b]0;pwned\x07\n\u202efoo"
    for text in (
        "\n".join(render_plain(build_status(status, UTC))),
        draw(build_status(status, UTC), 200),
    ):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "evil\ufffd]0;pwned\ufffd\ufffd\ufffdfoo" in text


def test_a_domain_name_is_not_parsed_as_markup(status: Status) -> None:
    status["domains"][0]["name"] = "[red]x[/]"
    assert "[red]x[/]" in draw(build_status(status, UTC), 200)


def test_plain_columns_are_aligned_with_wide_characters() -> None:
    sheet = Sheet(
        columns=(Column(title="Name"), Column(title="N")),
        rows=((Cell("虚拟机"), Cell("1")), (Cell("x"), Cell("2"))),
    )
    assert render_plain((sheet,)) == [
        " Name     N",
        "--------------",
        " 虚拟机   1",
        " x        2",
    ]


def test_columns_are_dropped_in_the_order_of_their_ranks() -> None:
    sheet = Sheet(
        columns=(
            Column(title="aaaa"),
            Column(title="bbbb", rank=1),
            Column(title="cccc", rank=2),
        ),
        rows=((Cell("1"), Bar(0.5), Cell("3")),),
    )
    titles = [
        "".join(column.title[0] for column in fit(sheet, width).columns)
        for width in (22, 21, 15, 1)
    ]
    assert titles == ["abc", "ab", "a", "a"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (7_384.5, "2 h 3 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_formatted_in_two_units(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


def test_an_event_is_printed_on_one_line() -> None:
    event = EventRecord(
        id=1,
        time="2026-03-01T12:00:00Z",
        kind="grant",
        domain="fw",
        text="a\nb",
        facts={},
    )
    assert render_event(event, UTC) == (
        "2026-03-01 12:00:00  grant          fw: a\ufffdb"
    )


@pytest.mark.parametrize(
    ("override_khz", "requested_khz", "words"),
    [
        (2_200_000, 2_200_000, "fixed at 2.20 GHz until released"),
        (
            2_200_000,
            2_000_000,
            "fixed at 2.20 GHz (requested: 2.00 GHz) until released",
        ),
    ],
)
def test_an_override_is_described_with_the_clock_group_and_its_effect(
    status: Status, override_khz: int, requested_khz: int, words: str
) -> None:
    group = group_cpus(status["cpus"])[1]
    for cpu in group:
        cpu["override_khz"] = override_khz
    assert describe_override(group, requested_khz) == f"{name_group(group)}: {words}"
    assert name_group(group) == "clock group 2 (CPUs 2-3, simulated)"


@pytest.mark.parametrize(
    ("is_taken", "khz", "mode", "words"),
    [
        (False, None, "enforce", "released to governor schedutil"),
        (True, None, "enforce", "released, its governor is being restored"),
        (True, 1_800_000, "observe", "released, its governor is being restored"),
        (
            True,
            1_800_000,
            "enforce",
            "released to the votes of dpdk-fw vCPU 0 (1.80 GHz)",
        ),
    ],
)
def test_a_release_names_the_votes_that_keep_the_cpus(
    status: Status, *, is_taken: bool, khz: int | None, mode: str, words: str
) -> None:
    group = group_cpus(status["cpus"])[1]
    for cpu in group:
        cpu["claimed"], cpu["governor"] = is_taken, "schedutil"
    domain = next(one for one in status["domains"] if one["name"] == "dpdk-fw")
    domain["mode"] = mode
    for vcpu in domain["vcpus"]:
        is_first = vcpu["vcpu"] == 0
        vcpu["clock_group"] = 2 if is_first else None
        vcpu["requested_khz"] = khz if is_first else None
    assert describe_release(group, [domain]) == f"{name_group(group)}: {words}"


def text_of(*sheets: Sheet) -> str:
    return "\n".join(line for sheet in sheets for line in render_plain((sheet,)))


def test_a_domain_shows_the_idle_states_that_its_latency_permits(
    status: Status,
) -> None:
    domain = status["domains"][0]
    for vcpu in domain["vcpus"][:2]:
        vcpu["idle_states"] = ["POLL", "C1"]
    text = text_of(*build_domain(domain, status["cpus"]))
    assert "Idle states: POLL, C1 (vCPUs 0-1)" in text


def test_cpus_show_what_is_held_and_what_forbids_turbo(status: Status) -> None:
    cpus = CpuList(cpus=status["cpus"], unmanaged_cpus=[])
    first = status["cpus"][0]
    first |= {"epp": "balance_power", "idle_latency_us": 50, "boost": False}
    first["turbo_switch"] = "intel_pstate/no_turbo"
    number = first["pcpu"]
    note = f"CPU {number}: turbo is off in the kernel (intel_pstate/no_turbo)"
    assert note in text_of(*build_cpus(cpus, []))
    (group, *_) = group_cpus(status["cpus"])
    text = text_of(build_clock_group(group, []))
    assert note in text
    assert "Energy preference: balance_power" in text
    assert f"at most 50 us (CPU {number})" in text


def test_a_clock_group_shows_what_it_follows_and_what_decides_its_grant(
    status: Status,
) -> None:
    (group, *_) = group_cpus(status["cpus"])
    for cpu in group:
        cpu["grant_khz"] = 2_000_000
        cpu["follows"] = [
            {"domain": "fw", "threads": ["emulator"], "decides": True},
            {"domain": "web", "threads": ["I/O thread 1"], "decides": False},
        ]
    text = " ".join(text_of(build_clock_group(group, [])).split())
    assert "Grant: 2.00 GHz, follows fw Override:" in text
    assert text.endswith("Follows: fw (emulator), web (I/O thread 1)")


def test_the_status_lists_settings_of_the_kernel_that_are_not_as_they_should_be(
    status: Status,
) -> None:
    outcomes = ("held", "left", "absent", "refused")
    status["kernel_settings"] = [
        {"name": outcome, "value": "1", "outcome": outcome, "problem": None}
        for outcome in outcomes
    ]
    status["kernel_settings"][-1]["problem"] = "the governor is performance"
    text = text_of(*build_status(status, UTC))
    assert "left: changed by another program, and left" in text
    assert "absent: not offered by the kernel here" in text
    assert "refused: the governor is performance" in text
    assert "held:" not in text


def test_emulator_and_io_threads_are_shown_where_they_run(status: Status) -> None:
    domain = next(it for it in status["domains"] if it["state"] == "running")
    vcpu_cpus = {pcpu for vcpu in domain["vcpus"] for pcpu in vcpu["pcpus"]}
    free, *_ = (c["pcpu"] for c in status["cpus"] if c["pcpu"] not in vcpu_cpus)
    pcpus = [free, min(vcpu_cpus)]
    domain["threads"] = [{"name": "emulator", "pcpus": pcpus}]
    cpus = CpuList(cpus=status["cpus"], unmanaged_cpus=[])
    text = text_of(*build_cpus(cpus, status["domains"]))
    assert text.count(f"{domain['name']} (emulator)") == 1
