# SPDX-License-Identifier: Apache-2.0
"""The command line of `vmpower-guest`."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import orchestrator
from orchestrator.guest.calls import FREQUENCY_CHANGES
from orchestrator.guest.clock import TIMEOUT_S
from orchestrator.guest.examples import EXAMPLES
from orchestrator.guest.load import PROC_STAT
from orchestrator.guest.policies import (
    DEFAULT_AVG_PPS,
    DEFAULT_MAX_PPS,
    WORKLOADS,
)
from orchestrator.guest.port import DEVICES
from orchestrator.guest.stepping import POLLING, POLLING_INTERVAL_S, Thresholds
from orchestrator.guest.telemetry import TELEMETRY_SOCKET
from orchestrator.guest.values import (
    MAX_VCPU,
    parse_count,
    parse_mac,
    parse_numbers,
    parse_seconds,
    parse_share,
    parse_vcpu,
)

if TYPE_CHECKING:
    # argparse has no public name for what add_subparsers returns.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_DAY_H = 24
_WIDTH = 79
_LASTING = "The request lasts until the command ends; the host then withdraws it."
_STATUSES = (
    "Exit status: 0 success, 1 failed or refused, 2 invalid command line, 3 no host or"
    " no answer, 4 permission denied, 130 interrupted. See vmpower-guest(1)."
)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; ``command`` of its result is the chosen command."""
    parser = argparse.ArgumentParser(
        prog="vmpower-guest",
        description="Request CPU frequencies for the vCPUs of this VM from its host.",
        epilog=f"{_epilog('vmpower-guest')}\n\n{_filled(_STATUSES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        parents=[_common()],
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"%(prog)s {orchestrator.__version__}",
        help="Print the version and exit.",
    )
    parser.set_defaults(output="table")
    parser.add_argument(
        "--timeout",
        type=parse_seconds,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="How long to wait for an answer (default: %(default)s). Requests without"
        " an answer are repeated up to nine times, except for steps up and down.",
    )
    parser.add_argument(
        "--vm-name",
        default="",
        metavar="NAME",
        help="Name of the VM, for DPDK's own host; vmpowerd does not need it.",
    )
    parser.add_argument(
        "--devices",
        type=Path,
        default=DEVICES,
        metavar="DIR",
        help="Directory that contains virtio-ports/ (default: %(default)s).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_set(commands)
    _add_query(commands)
    _add_energy(commands)
    _add_policy(commands)
    _add_watch(commands)
    _add_auto(commands)
    return parser


def _common() -> argparse.ArgumentParser:
    """Build the options that are accepted before and after the command."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        *("-h", "--help"), action="help", help="Show this message and exit."
    )
    parent.add_argument(
        *("-o", "--output"),
        choices=("table", "json"),
        default=argparse.SUPPRESS,
        metavar="table|json",
        help="Output format (default: table).",
    )
    return parent


def _add_command(
    commands: Subparsers, name: str, summary: str, details: str = ""
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: the commands at its level.
        name: as it is typed.
        summary: one sentence, also for the list of commands.
        details: more sentences.
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=_filled(f"{summary} {details}"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        parents=[_common()],
    )
    command.epilog = _epilog(command.prog)
    return command


def _epilog(command: str) -> str:
    lines = [
        f"  {purpose}\n    {line}"
        for purpose, line in EXAMPLES.get(command, {}).items()
    ]
    return "\n".join(["examples:", *lines]) if lines else ""


def _filled(text: str) -> str:
    """Wrap a text: the formatter keeps all line breaks, for the examples."""
    return textwrap.fill(text.strip(), _WIDTH)


def _add_set(commands: Subparsers) -> None:
    command = _add_command(
        commands, "set", "Request a change of a vCPU's frequency.", _LASTING
    )
    command.add_argument(
        "vcpu", type=parse_vcpu, metavar="VCPU", help="Number of the vCPU."
    )
    command.add_argument(
        "change",
        choices=FREQUENCY_CHANGES,
        metavar="|".join(FREQUENCY_CHANGES),
        help="One step up or down; the lowest or highest allowed frequency; turbo"
        " allowed and requested, or forbidden.",
    )
    _add_once(command)


def _add_query(commands: Subparsers) -> None:
    command = _add_command(
        commands,
        "query",
        "Query frequencies or CPU capabilities.",
        "An answer has room for vCPUs 0 to 7. A frequency of - is not known to the"
        " host, because nothing has requested one for the vCPU yet.",
    )
    command.add_argument(
        "what",
        choices=("freq", "caps"),
        metavar="freq|caps",
        help="Frequencies, or whether the CPUs have turbo and high priority.",
    )
    command.add_argument(
        "vcpu",
        type=parse_vcpu,
        nargs="?",
        metavar="VCPU",
        help="Only this vCPU (default: all).",
    )


def _add_energy(commands: Subparsers) -> None:
    _add_command(
        commands,
        "energy",
        "Show the energy that this VM draws and saves.",
        "It is the host's accounting of the vCPUs and of QEMU's other threads: power in"
        " the last ten seconds, and energy since the VM was started. Only vmpowerd"
        " answers it, if it accounts energy and permits the query.",
    )


def _add_policy(commands: Subparsers) -> None:
    command = _add_command(
        commands, "policy", "Let the host apply a policy instead of requests."
    )
    actions = command.add_subparsers(
        dest="policy_command", required=True, metavar="send|remove"
    )
    _add_command(actions, "remove", "Remove the policy; hosts do not answer this.")
    send = _add_command(actions, "send", "Send a policy.", _LASTING)
    kinds = send.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, summary, add in (
        ("traffic", "Follow the rate of packets.", _add_traffic),
        ("time", "Follow the hours of the day.", _add_hours),
        ("workload", "Keep one level.", _add_workload),
        (
            "branch-ratio",
            "Slow down while a loop polls without work, as the host's counters show.",
            None,
        ),
    ):
        one = _add_command(kinds, kind, summary, _LASTING)
        _add_vcpus(one)
        if add is not None:
            add(one)


def _add_vcpus(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--vcpus",
        type=parse_numbers(255),
        required=True,
        metavar="LIST",
        help="vCPUs that the policy is for, such as 0,2-3; at most 8.",
    )
    _add_once(command)


def _add_traffic(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mac",
        type=parse_mac,
        action="append",
        default=[],
        dest="macs",
        metavar="ADDRESS",
        help="Interface of this VM whose packets count; can be repeated.",
    )
    command.add_argument(
        *("--avg", "--avg-pps"),
        type=parse_count,
        default=DEFAULT_AVG_PPS,
        dest="avg_pps",
        metavar="PPS",
        help="Packets per second for the medium frequency (default: %(default)s).",
    )
    command.add_argument(
        *("--max", "--max-pps"),
        type=parse_count,
        default=DEFAULT_MAX_PPS,
        dest="max_pps",
        metavar="PPS",
        help="Packets per second for the highest frequency (default: %(default)s).",
    )


def _add_hours(command: argparse.ArgumentParser) -> None:
    for name, help_text in (
        ("busy", "Hours with the highest frequency, such as 8-17,20."),
        ("quiet", "Hours with the lowest frequency."),
        ("by-traffic", "Hours in which the frequency follows the traffic, see --mac."),
    ):
        command.add_argument(
            f"--{name}",
            type=parse_numbers(_DAY_H - 1),
            default=[],
            metavar="HOURS",
            help=help_text,
        )
    _add_traffic(command)


def _add_workload(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "level",
        choices=WORKLOADS,
        metavar="|".join(WORKLOADS),
        help="The highest, the medium or the lowest frequency.",
    )


def _add_once(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--once",
        action="store_true",
        help="Exit after the answer; the host withdraws the request when it notices"
        " that the port is closed.",
    )


def _add_watch(commands: Subparsers) -> None:
    command = _add_command(
        commands, "watch", "Show frequencies and loads at an interval."
    )
    _add_interval(command, 1.0)
    command.add_argument(
        *("-n", "--count"),
        type=parse_count,
        default=0,
        help="Exit after this many lines (default: never).",
    )
    _add_stat(command)


def _add_auto(commands: Subparsers) -> None:
    plain, polling = Thresholds(), POLLING
    command = _add_command(
        commands,
        "auto",
        "Let the frequencies follow the load: up at once, down slowly.",
        _LASTING,
    )
    command.add_argument(
        "--vcpus",
        type=parse_numbers(MAX_VCPU),
        metavar="LIST",
        help="vCPUs to control (default: all whose ports are free).",
    )
    command.add_argument(
        "--dpdk",
        type=Path,
        nargs="?",
        const=TELEMETRY_SOCKET,
        metavar="SOCKET",
        help="Read the load from the telemetry socket of a DPDK application that counts"
        " busy cycles; for the kernel, an application that polls is always busy"
        f" (default: {TELEMETRY_SOCKET}).",
    )
    command.add_argument(
        *("-i", "--interval"),
        type=parse_seconds,
        metavar="SECONDS",
        help="Interval between samples (default: 0.2; with --dpdk"
        f" {POLLING_INTERVAL_S}).",
    )
    command.add_argument(
        "--busy",
        type=parse_share,
        metavar="SHARE",
        help="Load from which the highest frequency is requested"
        f" (default: {plain.up_above}; with --dpdk {polling.up_above}, and from five"
        " sevenths of it one step more).",
    )
    command.add_argument(
        "--calm",
        type=parse_share,
        metavar="SHARE",
        help="Load below which the frequency is lowered"
        f" (default: {plain.down_below}; with --dpdk {polling.down_below}, and"
        " less at lower frequencies).",
    )
    command.add_argument(
        "--patience",
        type=parse_seconds,
        metavar="SECONDS",
        help="How long the load must be low before each step down (default: 1.0; with"
        f" --dpdk {polling.down_after_samples * POLLING_INTERVAL_S:g}).",
    )
    command.add_argument(
        *("-v", "--verbose"), action="store_true", help="Print each change."
    )
    _add_stat(command)


def _add_interval(command: argparse.ArgumentParser, default_s: float) -> None:
    command.add_argument(
        *("-i", "--interval"),
        type=parse_seconds,
        default=default_s,
        metavar="SECONDS",
        help="Interval between samples (default: %(default)s).",
    )


def _add_stat(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--stat",
        type=Path,
        default=PROC_STAT,
        metavar="FILE",
        help="Source of the load (default: %(default)s).",
    )
