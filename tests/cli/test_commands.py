# SPDX-License-Identifier: Apache-2.0
"""The commands, run in this process, with a fake daemon on real sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.framework.levels import Level
from cli.framework.settings import is_json_requested
from orchestrator.system.service_unit import start_command
from tests.control.fake_host import STEPS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Vmpower
    from tests.control.fake_daemon import FakeDaemon


def test_status_as_json_is_the_daemons_document(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    result = vmpower("status", "-o", "json")
    assert result.exit_code == 0
    expected = daemon.picture().model_dump(mode="json", by_alias=True)
    assert json.loads(result.stdout) == expected


def test_the_global_output_option_has_the_same_effect(vmpower: Vmpower) -> None:
    before = vmpower("-o", "json", "cpu", "list")
    after = vmpower("cpu", "list", "-o", "json")
    assert json.loads(before.stdout) == json.loads(after.stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status",), "dpdk-fw"),
        (("domain", "list"), "shut off"),
        (("domain", "show", "2"), "channel 5 appears twice"),
        (("channel", "list"), "12345"),
        (("cpu", "list"), "acpi-cpufreq, simulated"),
        (("cpu", "show", "2"), "3.00 GHz turbo, 3.00 GHz, 2.60 GHz"),
        (("events",), "channel 0 is open"),
    ],
)
def test_each_command_shows_its_document(
    vmpower: Vmpower, arguments: tuple[str, ...], words: str
) -> None:
    result = vmpower(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert words in result.stdout


def test_channels_of_one_domain_can_be_listed(vmpower: Vmpower) -> None:
    listed = json.loads(vmpower("channel", "list", "2", "-o", "json").stdout)
    assert [c["domain"] for c in listed["channels"]] == ["dpdk-router"] * 3


def test_cpu_set_reports_the_whole_clock_group(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    result = vmpower("cpu", "set", "3", "2.0GHz")
    assert result.stdout == (
        "clock group 2 (CPUs 2-3, simulated): fixed at 2.20 GHz (requested: 2.00 GHz)"
        " until released\n"
    )
    assert daemon.cpus[2].override_khz == 2_200_000


def test_cpu_set_changes_each_clock_group_once(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    result = vmpower("cpu", "set", "0-3", "1800000")
    assert result.stdout.count("1.80 GHz") == 2
    assert len(daemon.callers) == 2


@pytest.mark.parametrize(
    ("level", "khz"),
    [
        ("min", 1_200_000),
        ("max", 3_001_000),
        ("nominal", 3_000_000),
        ("turbo", 3_001_000),
        ("up", 2_600_000),
        ("down", 1_800_000),
    ],
)
def test_cpu_set_takes_levels(
    vmpower: Vmpower, daemon: FakeDaemon, level: str, khz: int
) -> None:
    vmpower("cpu", "set", "2", "2.2GHz")
    assert vmpower("cpu", "set", "2", level).exit_code == 0
    assert daemon.cpus[2].override_khz == khz


def test_up_and_down_end_at_the_last_step(vmpower: Vmpower, daemon: FakeDaemon) -> None:
    for level, khz in (("max", STEPS[0]), ("up", STEPS[0]), ("min", STEPS[-1])):
        vmpower("cpu", "set", "2", level)
        assert daemon.cpus[2].override_khz == khz
    vmpower("cpu", "set", "2", "down")
    assert daemon.cpus[2].override_khz == STEPS[-1]


def test_down_without_an_override_counts_from_the_grant_or_what_the_cpu_runs(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    for number, grant_khz in ((0, None), (2, 2_600_000)):
        known = {"grant_khz": grant_khz, "current_khz": 3_000_000}
        for pcpu in (number, number + 1):
            daemon.cpus[pcpu] = daemon.cpus[pcpu].model_copy(update=known)
    vmpower("cpu", "set", "0-3", "down")
    assert daemon.cpus[0].override_khz == 2_600_000
    assert daemon.cpus[2].override_khz == 2_200_000


@pytest.mark.parametrize(
    ("level", "missing", "error"),
    [
        ("turbo", {"nominal_khz": STEPS[0]}, "CPU 2 has no turbo frequency"),
        (
            "nominal",
            {"nominal_khz": None},
            "the nominal frequency of CPU 2 is not known",
        ),
        (
            "up",
            {"grant_khz": None, "current_khz": None},
            "the frequency of CPU 2 is not known",
        ),
    ],
)
def test_cpu_set_changes_nothing_if_one_cpu_does_not_have_the_level(
    vmpower: Vmpower,
    daemon: FakeDaemon,
    level: str,
    missing: dict[str, object],
    error: str,
) -> None:
    daemon.cpus[2] = daemon.cpus[2].model_copy(update=missing)
    result = vmpower("cpu", "set", "0-3", level)
    assert (result.exit_code, result.stderr) == (1, f"error: {error}\n")
    assert daemon.callers == []


def test_cpu_set_changes_nothing_if_one_cpu_is_invalid(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    result = vmpower("cpu", "set", "0-3,6", "1800MHz")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: CPU 6 cannot be set: offline\nhint: ")
    assert daemon.callers == []


def test_cpu_release_removes_overrides(vmpower: Vmpower, daemon: FakeDaemon) -> None:
    vmpower("cpu", "set", "0-3", "1.8GHz")
    result = vmpower("cpu", "release", "0-3")
    assert result.stdout.count(": released to governor ") == 2
    assert all(cpu.override_khz is None for cpu in daemon.cpus.values())


def test_cpu_retake_takes_back_what_another_program_changed(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    for number in (2, 3):
        drift = {"drift": "the governor was changed to 'performance'"}
        daemon.cpus[number] = daemon.cpus[number].model_copy(update=drift)
    result = vmpower("cpu", "retake", "0-3")
    assert result.stdout == (
        "clock group 0 (CPUs 0-1, simulated): not changed by another program\n"
        "clock group 2 (CPUs 2-3, simulated): retaken\n"
    )
    assert all(cpu.drift is None for cpu in daemon.cpus.values())


def test_cpu_set_as_json_lists_every_cpu_of_the_group(vmpower: Vmpower) -> None:
    answer = json.loads(vmpower("cpu", "set", "2", "2GHz", "-o", "json").stdout)
    found = [(cpu["pcpu"], cpu["override_khz"]) for cpu in answer["cpus"]]
    assert found == [(2, 2_200_000), (3, 2_200_000)]


def test_a_channel_is_disabled_and_enabled(vmpower: Vmpower) -> None:
    assert vmpower("channel", "disable", "dpdk-fw", "1").stdout == (
        "channel 1 of dpdk-fw: disabled\n"
    )
    assert vmpower("channel", "enable", "dpdk-fw", "1").stdout == (
        "channel 1 of dpdk-fw: open\n"
    )


def test_all_channels_of_a_domain_are_disabled_and_enabled(
    vmpower: Vmpower, daemon: FakeDaemon
) -> None:
    result = vmpower("channel", "disable", "dpdk-fw", "all")
    assert result.stdout.count("disabled") == 3
    firewall = next(iter(daemon.domains.values()))
    assert [channel.enabled for channel in firewall.channels] == [False] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("domain", "show", "nobody"), "no such domain: 'nobody'"),
        (("channel", "disable", "web", "all"), "domain 'web' has no channels"),
        (("channel", "enable", "dpdk-fw", "7"), "domain 'dpdk-fw' has no channel 7"),
        (("cpu", "set", "4", "2GHz"), "clock group 4 is claimed by another daemon"),
        (("cpu", "show", "99"), "no such CPU: 99"),
    ],
)
def test_failures_are_reported_on_stderr_with_status_1(
    vmpower: Vmpower, arguments: tuple[str, ...], message: str
) -> None:
    result = vmpower(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[0] == f"error: {message}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("channel", "enable", "dpdk-fw", "x"),
            "invalid channel 'x': expected a number or 'all'",
        ),
        (
            ("cpu", "set", "", "2GHz"),
            "invalid CPU list '': expected CPUs such as 2-5,8",
        ),
    ],
)
def test_an_invalid_value_exits_with_2_and_names_the_expected_form(
    vmpower: Vmpower, arguments: tuple[str, ...], message: str
) -> None:
    result = vmpower(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {message}\n"


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (("bogus",), ["error: no such command 'bogus'", "hint: see 'vmpower --help'"]),
        (
            ("cpu", "set", "2"),
            ["error: missing argument 'FREQ'", "hint: see 'vmpower cpu set --help'"],
        ),
        (
            ("status", "--run-dir", "x"),
            [
                "error: no such option: --run-dir",
                "hint: put it before the command: 'vmpower --run-dir ...'",
            ],
        ),
    ],
)
def test_a_usage_error_exits_with_2(
    vmpower: Vmpower, arguments: tuple[str, ...], lines: list[str]
) -> None:
    result = vmpower(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == lines


def test_an_invalid_output_format_lists_the_formats(vmpower: Vmpower) -> None:
    result = vmpower("status", "-o", "xml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'table', 'json'" in result.stderr


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("domain show nosuch -o json", 1, "no such domain: 'nosuch'"),
        ("cpu set 0 fast --output=json", 2, "invalid frequency 'fast': expected "),
        ("-o json cpu set 0", 2, "missing argument 'FREQ'"),
        ("-ojson states", 2, "no such command 'states'"),
        ("--output json --run-dir /nowhere status", 3, "no vmpowerd answers at "),
    ],
)
def test_with_json_an_error_is_a_line_of_json_on_stderr(
    vmpower: Vmpower, words: str, status: int, message: str
) -> None:
    result = vmpower(*words.split())
    assert (result.exit_code, result.stdout) == (status, "")
    document = json.loads(result.stderr)
    assert document["schema"] == 1
    assert document["error"]["message"].startswith(message)
    assert document["error"]["status"] == status
    assert set(document["error"]) == {"message", "hint", "status"}


@pytest.mark.parametrize(
    ("line", "is_json"),
    [
        ("", False),
        ("status", False),
        ("status -o", False),
        ("status -o json", True),
        ("-o json status -o table", False),
        ("policy set a -- -o json", False),
    ],
)
def test_json_is_recognized_on_any_command_line(line: str, *, is_json: bool) -> None:
    assert is_json_requested(line.split()) is is_json


def test_without_a_daemon_it_exits_with_3_and_a_hint(
    vmpower: Vmpower, tmp_path: Path
) -> None:
    result = vmpower("--run-dir", str(tmp_path / "nowhere"), "status")
    assert (result.exit_code, result.stdout) == (3, "")
    error, hint = result.stderr.splitlines()
    assert error == f"error: no vmpowerd answers at {tmp_path}/nowhere/vmpower-ro.sock"
    assert f"start it with '{start_command()}'" in hint


def test_a_change_through_the_read_only_socket_exits_with_4(
    vmpower: Vmpower, run_dir: Path
) -> None:
    socket = str(run_dir / "vmpower-ro.sock")
    result = vmpower("--socket", socket, "cpu", "release", "2")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(
        "error: permission denied: this socket is read-only\nhint: "
    )


@pytest.mark.parametrize(
    "group",
    [(), ("domain",), ("channel",), ("cpu",), ("policy",), ("template",)],
    ids=" ".join,
)
def test_help_lists_every_command(vmpower: Vmpower, group: tuple[str, ...]) -> None:
    commands = {
        (): "status top domain channel cpu policy energy apply template events report"
        " advise doctor restore completion tuned-profile simulate try",
        ("domain",): "list show add pin onboard offboard set",
        ("policy",): "list set preview remove",
        ("energy",): "show explain calibrate",
        ("template",): "list show validate",
        ("channel",): "list enable disable",
        ("cpu",): "list show set release retake",
    }
    result = vmpower(*group, "--help")
    assert result.exit_code == 0
    listed = result.stdout.split("Commands:\n")[1].split("\n\n")[0]
    words = [line.split()[0] for line in listed.splitlines() if line[2:3].strip()]
    assert words == commands[group].split()


def test_version_prints_the_version(vmpower: Vmpower) -> None:
    assert vmpower("--version").stdout.startswith("vmpower 0.")


def test_a_misspelled_command_is_answered_with_a_suggestion(vmpower: Vmpower) -> None:
    typo = "status".removesuffix("s")
    result = vmpower(typo)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"'{typo}'. Did you mean 'status'?" in result.stderr


@pytest.mark.parametrize(
    ("words", "status", "hint"),
    [
        ("domain set nope --min 1GHz", 1, "see 'virsh list --all'"),
        ("domain set test --min 3GHz --max 1GHz", 1, "swap them"),
        ("domain pin test 0 99", 1, "the host has CPUs 0-7"),
        ("template show ./no.xml", 1, "see 'vmpower template list'"),
        ("simulate /proc/x --cpus 2", 1, "give a directory that you may write"),
        ("restore --sysfs-root /nowhere", 1, "check --sysfs-root"),
    ],
)
def test_errors_have_a_hint(
    vmpower: Vmpower, words: str, status: int, hint: str
) -> None:
    result = vmpower("-c", "test:///default", *words.split())
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith("error: ")
    assert f"\nhint: {hint}" in result.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            "domain set test --min fast",
            "invalid frequency 'fast': expected 2.3GHz, 2300MHz or kHz",
        ),
        (
            "cpu set 0 fast",
            "invalid frequency 'fast': expected 2.3GHz, 2300MHz or kHz, or one of "
            + ", ".join(Level),
        ),
        ("cpu set 0 1THz", "invalid frequency '1THz': expected 2.3GHz, 2300MHz or kHz"),
        (
            "domain onboard test --channels 0-",
            "invalid channel '0-': expected numbers and ranges, as in 2-5,8",
        ),
        (
            "domain pin test 0 2-",
            "invalid CPU '2-': expected numbers and ranges, as in 2-5,8",
        ),
        (
            "cpu set 2- 2GHz",
            "invalid CPU '2-': expected numbers and ranges, as in 2-5,8",
        ),
        ("cpu show x", "invalid CPU 'x': expected numbers and ranges, as in 2-5,8"),
        ("domain pin test 0 9-3", "invalid CPU range '9-3': start is greater than end"),
    ],
)
def test_an_invalid_value_is_named_with_what_is_expected(
    vmpower: Vmpower, words: str, error: str
) -> None:
    result = vmpower("-c", "test:///default", *words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {error}\n"
