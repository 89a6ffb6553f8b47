"""The command line of `vmpower-guest`, and the values on it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import orchestrator
from orchestrator.guest.asks import CLOCKS
from orchestrator.guest.clock import TIMEOUT_S
from orchestrator.guest.load import PROC_STAT
from orchestrator.guest.pace import Pace
from orchestrator.guest.policies import (
    DEFAULT_AVG_PPS,
    DEFAULT_MAX_PPS,
    MAC_BYTES,
    WORKLOADS,
)
from orchestrator.guest.port import DEVICES

if TYPE_CHECKING:
    # argparse has no public name for what add_subparsers returns.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

MOST_VCPU = 4095
_DAY_H = 24
_HELD = "Held until the command ends; then the host takes it back."


def parse_numbers(most: int) -> Callable[[str], list[int]]:
    """Return a reader of lists such as ``0,2-5``, of numbers up to `most`."""

    def parse(text: str) -> list[int]:
        numbers: list[int] = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            if not _is_number(first) or (dash and not _is_number(last)):
                raise argparse.ArgumentTypeError(f"'{text}' is no list such as 0,2-5")
            begin, end = int(first), int(last or first)
            if begin > end or end > most:
                raise argparse.ArgumentTypeError(f"'{part}' is not within 0-{most}")
            numbers += range(begin, end + 1)
        return sorted(set(numbers))

    return parse


def parse_vcpu(text: str) -> int:
    """Read the number of one vCPU."""
    if not _is_number(text) or int(text) > MOST_VCPU:
        raise argparse.ArgumentTypeError(f"'{text}' is no vCPU (0 to {MOST_VCPU})")
    return int(text)


def parse_mac(text: str) -> bytes:
    """Read a MAC address such as ``52:54:00:12:34:56``."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != MAC_BYTES or text.count(":") != MAC_BYTES - 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no MAC address")
    return mac


def parse_share(text: str) -> float:
    """Read a share of time such as ``0.8`` or ``80%``."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no share: write 0.8 or 80%")
    return share


def parse_seconds(text: str) -> float:
    """Read a time in seconds, more than 0 and at most a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"'{text}' is no time in seconds")
    return seconds


def parse_count(text: str) -> int:
    """Read a count of packets that the wire has room for."""
    if not _is_number(text) or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"'{text}' is no count (0 to {(1 << 32) - 1})")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; ``verb`` of what it returns names what to do."""
    parser = argparse.ArgumentParser(
        prog="vmpower-guest",
        description="Ask the host for the clocks of this VM's vCPUs.",
        epilog="Exit status: 0 done, 1 failed or refused, 2 wrong usage, 3 no host "
        "answers, 4 permission denied, 130 interrupted.",
        parents=[_output()],
    )
    version = f"%(prog)s {orchestrator.__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.set_defaults(output="table")
    parser.add_argument(
        "--timeout",
        type=parse_seconds,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="how long the host may take to answer (default %(default)s)",
    )
    parser.add_argument(
        "--vm-name", default="", help="for DPDK's own host; vmpowerd needs none"
    )
    parser.add_argument(
        "--devices",
        type=Path,
        default=DEVICES,
        metavar="DIR",
        help="where virtio-ports/ is (default %(default)s)",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _add_set(verbs)
    _add_query(verbs)
    _add_policy(verbs)
    _add_watch(verbs)
    _add_auto(verbs)
    return parser


def _output() -> argparse.ArgumentParser:
    """Build the option that may stand before the command, and behind it."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        *("-o", "--output"),
        choices=("table", "json"),
        default=argparse.SUPPRESS,
        help="for people or for programs",
    )
    return parent


def _add_set(verbs: Subparsers) -> None:
    about = "change a vCPU's clock"
    command = verbs.add_parser(
        "set", help=about, description=f"{about}. {_HELD}", parents=[_output()]
    )
    command.add_argument("vcpu", type=parse_vcpu, metavar="VCPU")
    command.add_argument("word", choices=CLOCKS, metavar="|".join(CLOCKS))
    _add_once(command)


def _add_query(verbs: Subparsers) -> None:
    about = "show clocks, or what the CPUs can do"
    command = verbs.add_parser(
        "query", help=about, description=about, parents=[_output()]
    )
    command.add_argument("what", choices=("freq", "caps"))
    command.add_argument(
        "vcpu", type=parse_vcpu, nargs="?", metavar="VCPU", help="default: all"
    )


def _add_policy(verbs: Subparsers) -> None:
    about = "let the host follow a rule instead of requests"
    command = verbs.add_parser(
        "policy", help=about, description=about, parents=[_output()]
    )
    deeds = command.add_subparsers(dest="deed", required=True, metavar="send|remove")
    about = "end the policy (hosts do not answer this)"
    deeds.add_parser("remove", help=about, description=about, parents=[_output()])
    send = deeds.add_parser("send", help="send a policy", description=_HELD)
    kinds = send.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, add in (
        ("traffic", _add_traffic),
        ("time", _add_hours),
        ("workload", _add_workload),
        ("branch-ratio", None),
    ):
        one = kinds.add_parser(
            kind, help=_KINDS[kind], description=_KINDS[kind], parents=[_output()]
        )
        _add_common(one)
        if add is not None:
            add(one)


_KINDS = {
    "traffic": "faster with more packets per second",
    "time": "fast in some hours of the day, slow in others",
    "workload": "one level, always",
    "branch-ratio": "slow while a polling loop finds nothing (counted by the host)",
}


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--vcpus",
        type=parse_numbers(255),
        required=True,
        metavar="LIST",
        help="for whose clocks, such as 0,2-3 (8 at most)",
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
        help="an interface of this VM whose packets count; may be repeated",
    )
    command.add_argument(
        *("--avg", "--avg-pps"),
        type=parse_count,
        default=DEFAULT_AVG_PPS,
        dest="avg_pps",
        metavar="PPS",
        help="packets per second for the middle clock (default %(default)s)",
    )
    command.add_argument(
        *("--max", "--max-pps"),
        type=parse_count,
        default=DEFAULT_MAX_PPS,
        dest="max_pps",
        metavar="PPS",
        help="packets per second for the highest clock (default %(default)s)",
    )


def _add_hours(command: argparse.ArgumentParser) -> None:
    for name, about in (
        ("busy", "hours with the highest clock, such as 8-17,20"),
        ("quiet", "hours with the lowest clock"),
        ("by-traffic", "hours in which the clock goes by traffic, see --mac"),
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
    command.add_argument("level", choices=WORKLOADS)


def _add_once(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--once",
        action="store_true",
        help="end at once; the host takes it back when it sees the port closed",
    )


def _add_watch(verbs: Subparsers) -> None:
    about = "show clocks and loads again and again"
    command = verbs.add_parser(
        "watch", help=about, description=about, parents=[_output()]
    )
    _add_interval(command, 1.0)
    command.add_argument(
        *("-n", "--count"),
        type=parse_count,
        default=0,
        help="end after so many lines (default: never)",
    )
    _add_stat(command)


def _add_auto(verbs: Subparsers) -> None:
    pace = Pace()
    about = "keep the clocks in step with the load: fast up, slow down"
    command = verbs.add_parser(
        "auto", help=about, description=f"{about}. {_HELD}", parents=[_output()]
    )
    command.add_argument(
        "--vcpus",
        type=parse_numbers(MOST_VCPU),
        metavar="LIST",
        help="default: all that have a port",
    )
    _add_interval(command, 0.2)
    command.add_argument(
        "--busy",
        type=parse_share,
        default=pace.busy_load,
        metavar="SHARE",
        help="load from which on the clock is the highest (default %(default)s)",
    )
    command.add_argument(
        "--calm",
        type=parse_share,
        default=pace.calm_load,
        metavar="SHARE",
        help="load below which it goes down (default %(default)s)",
    )
    command.add_argument(
        "--patience",
        type=parse_seconds,
        default=1.0,
        metavar="SECONDS",
        help="how long it must be calm before each step down (default %(default)s)",
    )
    command.add_argument(
        *("-v", "--verbose"), action="store_true", help="tell each change"
    )
    _add_stat(command)


def _add_interval(command: argparse.ArgumentParser, default_s: float) -> None:
    command.add_argument(
        *("-i", "--interval"),
        type=parse_seconds,
        default=default_s,
        metavar="SECONDS",
        help="time between two looks (default %(default)s)",
    )


def _add_stat(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--stat",
        type=Path,
        default=PROC_STAT,
        metavar="FILE",
        help="where the load comes from (default %(default)s)",
    )
