"""DPDK's own test suite as the guest: power_kvm_vm_autotest.

Source: DPDK's app/test/test_power_kvm_vm.c: it sends CONNECT and then its six requests
within a millisecond, without reading an answer; "Test OK" means that all were taken.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from examples.demo.consoles import Console
from examples.demo.guests import dpdk_plan
from examples.demo.summary import restored_text
from examples.guests.cache import GuestError
from examples.guests.images import build_dpdk_image

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from examples.demo.stage import Stage
    from orchestrator.control.documents import Channel, Status

REQUESTS = (
    ("ENABLE_TURBO", "rte_power_freq_enable_turbo", "turbo allowed, the highest step"),
    ("DISABLE_TURBO", "rte_power_freq_disable_turbo", "the highest step below turbo"),
    ("UP", "rte_power_freq_up", "one step up"),
    ("DOWN", "rte_power_freq_down", "one step down"),
    ("MIN", "rte_power_freq_min", "the lowest step"),
    ("MAX", "rte_power_freq_max", "the highest allowed step"),
)
"""What the test sends, in its order."""
_OK = "Test OK"
_VERDICTS = (_OK, "Test Skipped", "Test Failed")
_ENDS_WITHIN_S = 50.0
_LOOK_EVERY_S = 0.02
_CLOCK_LOOK_EVERY_S = 0.0005


@dataclass(slots=True)
class DpdkResult:
    """What came of it."""

    words: str = ""
    """The test's own verdict."""
    channel: Channel | None = None
    """The daemon's counters of the channel that it used."""
    clocks_khz: list[int] = field(default_factory=list)
    """The clocks that were seen in the CPU tree, in their order."""
    is_simulated: bool = False
    compared_files: int = 0
    changed_files: tuple[str, ...] = ()
    restored_in_s: float = 0.0
    took_s: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether DPDK is content and the CPUs are as they were."""
        return self.words == _OK and not self.changed_files


class DpdkTest:
    """One run of it.

    Synchronization: the asyncio thread.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._plan = dpdk_plan(build_dpdk_image())
        self._console = Console(stage.guests.console_path(self._plan))
        self._result = DpdkResult(is_simulated=stage.groups[0].is_simulated)

    async def run(self, interrupted: asyncio.Event) -> DpdkResult:
        """Run it to the last comparison.

        Raises:
            VmpowerError: the daemon failed.
            GuestError: the guest did.
        """
        stage, result = self._stage, self._result
        await stage.start_daemon()
        began_s = time.monotonic()
        watch = ClockWatch(stage.clock_file(stage.pins[0]))
        with watch:
            await stage.start_guest(self._plan)
            while not (result.words or interrupted.is_set()):
                await self._look(began_s)
                await asyncio.sleep(_LOOK_EVERY_S)
        result.clocks_khz = watch.seen_khz
        result.restored_in_s = await stage.stop_daemon()
        result.changed_files = stage.changed_files()
        result.compared_files = stage.compared_files
        result.took_s = time.monotonic() - began_s
        return result

    async def _look(self, began_s: float) -> None:
        self._count(await self._stage.look())
        self._console.read_lines()
        if self._console.has("init: work ended"):
            self._count(await self._stage.look())
            found = [word for word in _VERDICTS if self._console.has(word)]
            self._result.words = found[0] if found else "no verdict"
        elif time.monotonic() - began_s > _ENDS_WITHIN_S:
            raise GuestError(f"dpdk-test does not end:\n{self._console.tail()}")

    def _count(self, status: Status) -> None:
        for domain in status["domains"]:
            for channel in domain["channels"]:
                if channel["requests_total"]:
                    self._result.channel = channel


class ClockWatch:
    """Sees each value of a clock that stays for half a millisecond.

    Synchronization: a thread of its own while it is entered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seen_khz: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock-watch")

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with self._path.open("rb", buffering=0) as file:
            while not self._ended.wait(_CLOCK_LOOK_EVERY_S):
                file.seek(0)
                word = file.read(64).split(b"\n")[0]
                if word.isdigit() and [int(word)] != self.seen_khz[-1:]:
                    self.seen_khz.append(int(word))


def verdict(result: DpdkResult) -> RenderableType:
    """Draw what came of it."""
    is_ok = result.words == _OK
    head = Text().append("dpdk-test, power_kvm_vm_autotest: ", "bold")
    head.append(result.words or "not finished", "bold green" if is_ok else "bold red")
    parts: list[RenderableType] = [Text(""), head, _requests(), Text("")]
    grid = Table.grid(padding=(0, 2, 0, 0))
    if result.channel:
        counts = result.channel
        grid.add_row(
            Text("the daemon counted", "dim"),
            f"{counts['requests_total']} requests: {counts['acks_total']} ACK,"
            f" {counts['nacks_total']} NACK,"
            f" {counts['late_total'] + counts['dropped_total']} not answered",
        )
    mark = " (simulated)" if result.is_simulated else ""
    # In MHz: turbo is marked by one of them.
    clocks = " → ".join(f"{khz // 1000}" for khz in result.clocks_khz)
    grid.add_row(Text(f"clock{mark}", "dim"), f"{clocks} MHz")
    grid.add_row("", "requests that come together supersede each other unwritten")
    restored = restored_text(
        result.changed_files, result.compared_files, result.restored_in_s
    )
    grid.add_row(Text("everything restored", "dim"), restored)
    grid.add_row(Text("time", "dim"), f"{result.took_s:.1f} s from boot to restored")
    return Padding(Group(*parts, grid), (0, 1), expand=False)


def _requests() -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in ("request", "DPDK's call", "asks for"):
        table.add_column(title)
    for unit, call, meaning in REQUESTS:
        table.add_row(Text(unit, "bold"), call, Text(meaning, "dim"))
    return table
