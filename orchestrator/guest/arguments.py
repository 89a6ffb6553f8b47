"""The command line of `vmpower-guest`."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import orchestrator
from orchestrator.guest.asks import CLOCKS
from orchestrator.guest.clock import TIMEOUT_S
from orchestrator.guest.examples import EXAMPLES
from orchestrator.guest.load import PROC_STAT
from orchestrator.guest.pace import Pace
from orchestrator.guest.policies import (
    DEFAULT_AVG_PPS,
    DEFAULT_MAX_PPS,
    WORKLOADS,
)
from orchestrator.guest.port import DEVICES
from orchestrator.guest.values import (
    MOST_VCPU,
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
_HELD = "It holds until the command ends; then the host takes it back."
_STATUSES = (
    "Exit status: 0 done, 1 failed or refused, 2 wrong usage, 3 no host answers,"
    " 4 permission denied, 130 interrupted. See vmpower-guest(1)."
)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; ``verb`` of what it returns names what to do."""
    parser = argparse.ArgumentParser(
        prog="vmpower-guest",
        description="Ask the host for the clocks of this VM's vCPUs.",
        epilog=f"{_epilog('vmpower-guest')}\n\n{_filled(_STATUSES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        parents=[_common()],
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"%(prog)s {orchestrator.__version__}",
        help="Show the version.",
    )
    parser.set_defaults(output="table")
    parser.add_argument(
        "--timeout",
        type=parse_seconds,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="How long the host may take to answer (default: %(default)s).",
    )
    parser.add_argument(
        "--vm-name",
        default="",
        metavar="NAME",
        help="The VM's name, for DPDK's own host; vmpowerd needs none.",
    )
    parser.add_argument(
        "--devices",
        type=Path,
        default=DEVICES,
        metavar="DIR",
        help="Where virtio-ports/ is (default: %(default)s).",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _add_set(verbs)
    _add_query(verbs)
    _add_policy(verbs)
    _add_watch(verbs)
    _add_auto(verbs)
    return parser


def _common() -> argparse.ArgumentParser:
    """Build the options that may stand before the command, and behind it."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        *("-h", "--help"), action="help", help="Show this message and exit."
    )
    parent.add_argument(
        *("-o", "--output"),
        choices=("table", "json"),
        default=argparse.SUPPRESS,
        metavar="table|json",
        help="For people or for programs (default: table).",
    )
    return parent


def _add_command(
    among: Subparsers, name: str, about: str, more: str = ""
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        among: the commands of its kind.
        name: what is typed.
        about: one sentence, for the list of commands too.
        more: other sentences.
    """
    command: argparse.ArgumentParser = among.add_parser(
        name,
        help=about,
        description=_filled(f"{about} {more}"),
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


def _filled(words: str) -> str:
    """Break lines: argparse leaves all as they are, because the examples' must stay."""
    return textwrap.fill(words.strip(), _WIDTH)


def _add_set(verbs: Subparsers) -> None:
    command = _add_command(verbs, "set", "Change a vCPU's clock.", _HELD)
    command.add_argument(
        "vcpu", type=parse_vcpu, metavar="VCPU", help="Whose, by its number."
    )
    command.add_argument(
        "word",
        choices=CLOCKS,
        metavar="|".join(CLOCKS),
        help="One step faster or slower; the slowest or fastest that is allowed;"
        " to the turbo step or below it, and allowed there or not.",
    )
    _add_once(command)


def _add_query(verbs: Subparsers) -> None:
    command = _add_command(
        verbs,
        "query",
        "Show clocks, or what the CPUs can do.",
        "An answer has room for vCPUs 0 to 7. A clock that is shown as - is one that"
        " the host has not taken: nobody has asked for it yet.",
    )
    command.add_argument(
        "what",
        choices=("freq", "caps"),
        metavar="freq|caps",
        help="The clocks, or whether there is turbo and priority.",
    )
    command.add_argument(
        "vcpu",
        type=parse_vcpu,
        nargs="?",
        metavar="VCPU",
        help="Of this one (default: all).",
    )


def _add_policy(verbs: Subparsers) -> None:
    command = _add_command(
        verbs, "policy", "Let the host follow a rule instead of requests."
    )
    deeds = command.add_subparsers(dest="deed", required=True, metavar="send|remove")
    _add_command(deeds, "remove", "End the policy; hosts do not answer this.")
    send = _add_command(deeds, "send", "Send a policy.", _HELD)
    kinds = send.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, about, add in (
        ("traffic", "Faster with more packets per second.", _add_traffic),
        ("time", "Fast in some hours of the day, slow in others.", _add_hours),
        ("workload", "One level, always.", _add_workload),
        (
            "branch-ratio",
            "Slow while a polling loop finds nothing, as the host's CPUs count.",
            None,
        ),
    ):
        one = _add_command(kinds, kind, about, _HELD)
        _add_vcpus(one)
        if add is not None:
            add(one)


def _add_vcpus(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--vcpus",
        type=parse_numbers(255),
        required=True,
        metavar="LIST",
        help="For whose clocks, such as 0,2-3; 8 at most.",
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
        help="An interface of this VM whose packets count; may be repeated.",
    )
    command.add_argument(
        *("--avg", "--avg-pps"),
        type=parse_count,
        default=DEFAULT_AVG_PPS,
        dest="avg_pps",
        metavar="PPS",
        help="Packets per second for the middle clock (default: %(default)s).",
    )
    command.add_argument(
        *("--max", "--max-pps"),
        type=parse_count,
        default=DEFAULT_MAX_PPS,
        dest="max_pps",
        metavar="PPS",
        help="Packets per second for the highest clock (default: %(default)s).",
    )


def _add_hours(command: argparse.ArgumentParser) -> None:
    for name, about in (
        ("busy", "Hours with the highest clock, such as 8-17,20."),
        ("quiet", "Hours with the lowest clock."),
        ("by-traffic", "Hours in which the clock goes by traffic, see --mac."),
    ):
        command.add_argument(
            f"--{name}",
            type=parse_numbers(_DAY_H - 1),
            default=[],
            metavar="HOURS",
            help=about,
        )
    _add_traffic(command)


def _add_workload(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "level",
        choices=WORKLOADS,
        metavar="|".join(WORKLOADS),
        help="The highest, the middle or the lowest clock.",
    )


def _add_once(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--once",
        action="store_true",
        help="End at once; the host takes it back when it sees the port closed.",
    )


def _add_watch(verbs: Subparsers) -> None:
    command = _add_command(verbs, "watch", "Show clocks and loads again and again.")
    _add_interval(command, 1.0)
    command.add_argument(
        *("-n", "--count"),
        type=parse_count,
        default=0,
        help="End after so many lines (default: never).",
    )
    _add_stat(command)


def _add_auto(verbs: Subparsers) -> None:
    pace = Pace()
    command = _add_command(
        verbs,
        "auto",
        "Keep the clocks in step with the load: fast up, slow down.",
        _HELD,
    )
    command.add_argument(
        "--vcpus",
        type=parse_numbers(MOST_VCPU),
        metavar="LIST",
        help="Whose (default: all that have a port which nobody else has open).",
    )
    _add_interval(command, 0.2)
    command.add_argument(
        "--busy",
        type=parse_share,
        default=pace.busy_load,
        metavar="SHARE",
        help="Load from which on the clock is the highest (default: %(default)s).",
    )
    command.add_argument(
        "--calm",
        type=parse_share,
        default=pace.calm_load,
        metavar="SHARE",
        help="Load below which it goes down (default: %(default)s).",
    )
    command.add_argument(
        "--patience",
        type=parse_seconds,
        default=1.0,
        metavar="SECONDS",
        help="How long it must be calm before each step down (default: %(default)s).",
    )
    command.add_argument(
        *("-v", "--verbose"), action="store_true", help="Tell each change."
    )
    _add_stat(command)


def _add_interval(command: argparse.ArgumentParser, default_s: float) -> None:
    command.add_argument(
        *("-i", "--interval"),
        type=parse_seconds,
        default=default_s,
        metavar="SECONDS",
        help="Time between two looks (default: %(default)s).",
    )


def _add_stat(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--stat",
        type=Path,
        default=PROC_STAT,
        metavar="FILE",
        help="Where the load comes from (default: %(default)s).",
    )
