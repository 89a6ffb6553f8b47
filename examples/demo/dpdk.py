# SPDX-License-Identifier: Apache-2.0
"""The demo with DPDK's own test in a guest: power_kvm_vm_autotest.

Source: DPDK's app/test/test_power_kvm_vm.c. It sends CONNECT and then six requests
within a millisecond, without reading answers; "Test OK" means that all were written.
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

    from examples.demo.environment import DemoEnvironment
    from orchestrator.control.documents import Channel, Status

REQUESTS = (
    ("ENABLE_TURBO", "rte_power_freq_enable_turbo", "allow turbo, the highest step"),
    ("DISABLE_TURBO", "rte_power_freq_disable_turbo", "forbid turbo, the nominal step"),
    ("UP", "rte_power_freq_up", "one step up"),
    ("DOWN", "rte_power_freq_down", "one step down"),
    ("MIN", "rte_power_freq_min", "the lowest step"),
    ("MAX", "rte_power_freq_max", "the highest allowed step"),
)
"""The requests of the test, in order."""
_OK = "Test OK"
_VERDICTS = (_OK, "Test Skipped", "Test Failed")
_TIMEOUT_S = 180.0
"""It takes 20 s on an idle host."""
_POLL_S = 0.02
_FREQUENCY_POLL_S = 0.0005


@dataclass(slots=True)
class DpdkResult:
    """The result of the demo."""

    verdict: str = ""
    """As printed by the test; empty: it has not finished."""
    channel: Channel | None = None
    """The daemon's counters for its channel."""
    frequencies_khz: list[int] = field(default_factory=list)
    """The frequencies seen in the CPU tree, in order."""
    is_simulated: bool = False
    compared_files: int = 0
    changed_files: tuple[str, ...] = ()
    restored_in_s: float = 0.0
    took_s: float = 0.0

    @property
    def is_ok(self) -> bool:
        """Whether the test passed and the CPUs are restored."""
        return self.verdict == _OK and not self.changed_files


class DpdkTest:
    """One run of the test.

    Synchronization: the asyncio thread.
    """

    def __init__(self, environment: DemoEnvironment) -> None:
        self._environment = environment
        self._plan = dpdk_plan(build_dpdk_image())
        self._console = Console(environment.guests.console_path(self._plan))
        self._result = DpdkResult(is_simulated=environment.groups[0].is_simulated)

    async def run(self, interrupted: asyncio.Event) -> DpdkResult:
        """Run the test, and compare the CPUs.

        Raises:
            VmpowerError: the daemon failed.
            GuestError: the guest failed.
        """
        environment, result = self._environment, self._result
        await environment.start_daemon()
        began_s = time.monotonic()
        watch = FrequencyWatch(environment.frequency_file(environment.pins[0]))
        with watch:
            await environment.start_guest(self._plan)
            while not (result.verdict or interrupted.is_set()):
                await self._sample(began_s)
                await asyncio.sleep(_POLL_S)
        result.frequencies_khz = watch.seen_khz
        result.restored_in_s = await environment.stop_daemon()
        result.changed_files = environment.changed_files()
        result.compared_files = environment.compared_files
        result.took_s = time.monotonic() - began_s
        return result

    async def _sample(self, began_s: float) -> None:
        self._count(await self._environment.status())
        self._console.read_lines()
        if self._console.has("init: work ended"):
            self._count(await self._environment.status())
            found = [text for text in _VERDICTS if self._console.has(text)]
            self._result.verdict = found[0] if found else "no result"
        elif time.monotonic() - began_s > _TIMEOUT_S:
            raise GuestError(f"dpdk-test did not finish:\n{self._console.tail()}")

    def _count(self, status: Status) -> None:
        for domain in status["domains"]:
            for channel in domain["channels"]:
                if channel["requests_total"]:
                    self._result.channel = channel


class FrequencyWatch:
    """Records each frequency that lasts for half a millisecond.

    Synchronization: its own thread, while it is entered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seen_khz: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="frequency-watch")

    def __enter__(self) -> Self:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with self._path.open("rb", buffering=0) as file:
            while not self._ended.wait(_FREQUENCY_POLL_S):
                file.seek(0)
                text = file.read(64).split(b"\n")[0]
                if text.isdigit() and [int(text)] != self.seen_khz[-1:]:
                    self.seen_khz.append(int(text))


def render_result(result: DpdkResult) -> RenderableType:
    """Render the result."""
    is_passed = result.verdict == _OK
    head = Text().append("dpdk-test, power_kvm_vm_autotest: ", "bold")
    head.append(
        result.verdict or "not finished", "bold green" if is_passed else "bold red"
    )
    parts: list[RenderableType] = [Text(""), head, _requests(), Text("")]
    grid = Table.grid(padding=(0, 2, 0, 0))
    if result.channel:
        counts = result.channel
        grid.add_row(
            Text("daemon's counters", "dim"),
            f"{counts['requests_total']} requests: {counts['acks_total']} ACK,"
            f" {counts['nacks_total']} NACK,"
            f" {counts['late_total'] + counts['dropped_total']} not answered",
        )
    suffix = " (simulated)" if result.is_simulated else ""
    # In MHz, because turbo is 1 MHz above nominal.
    frequencies = " → ".join(f"{khz // 1000}" for khz in result.frequencies_khz)
    grid.add_row(Text(f"frequency{suffix}", "dim"), f"{frequencies} MHz")
    grid.add_row("", "of requests that arrive together, only the last is applied")
    restored = restored_text(
        result.changed_files, result.compared_files, result.restored_in_s
    )
    grid.add_row(Text("everything restored", "dim"), restored)
    grid.add_row(Text("time", "dim"), f"{result.took_s:.1f} s from boot to restoration")
    return Padding(Group(*parts, grid), (0, 1), expand=False)


def _requests() -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in ("request", "DPDK's call", "meaning"):
        table.add_column(title)
    for unit, call, meaning in REQUESTS:
        table.add_row(Text(unit, "bold"), call, Text(meaning, "dim"))
    return table
