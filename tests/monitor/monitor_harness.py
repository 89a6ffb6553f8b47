# SPDX-License-Identifier: Apache-2.0
"""A main process around a real monitor process, with plain files and guests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from contextlib import asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.channel.protocol import GENERATION_464, Request, encode
from orchestrator.limits import Limits
from orchestrator.monitor.client.client import Monitor
from orchestrator.monitor.client.heartbeat import HUNG_AFTER_S
from orchestrator.monitor.link.commands import (
    AnswerPolicy,
    AnswerTake,
    DefineDomain,
    DefineGroup,
    HandOver,
    VCpuDefinition,
)
from orchestrator.power.group import ClockGroup, Original, PreparedGroup
from orchestrator.power.writer import SetspeedWriter
from orchestrator.values.domain import DomainId, PCpu
from orchestrator.values.frequencies import table_from
from orchestrator.values.refusal import Permission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from orchestrator.monitor.client.views import Counters
    from orchestrator.values.p_states import PortSteps


SIZE = GENERATION_464.size_bytes
TURBO, NOMINAL, MIDDLE, LOWEST = 3_001_000, 3_000_000, 2_000_000, 1_200_000
STEPS = table_from([TURBO, NOMINAL, MIDDLE, LOWEST])
UUID = DomainId("00000000-0000-0000-0000-000000000001")
TIMEOUT_S = 60.0
"""Much longer than anything here takes, even while other tests run."""


class MonitorHarness:
    """Main: owns the tree, answers the monitor, records its events."""

    def __init__(
        self,
        directory: Path,
        *,
        release_after_s: float = 30.0,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        self.posted: list[events.Event] = []
        self.is_taking = True
        """Whether groups are taken at once when required."""
        self.is_accepting_policies: bool | None = True
        """How guests' policies are answered; None: not at all."""
        self.monitor = Monitor(
            release_after_s=release_after_s, post=self.post, hung_after_s=hung_after_s
        )
        self._directory = directory
        self._prepared: dict[int, PreparedGroup] = {}
        self._guests: list[Guest] = []

    def close(self) -> None:
        for prepared in self._prepared.values():
            prepared.close()
        for guest in self._guests:
            guest.close()

    # What the monitor posts

    def post(self, event: events.Event) -> None:
        self.posted.append(event)
        match event:
            case events.TakeWanted(group) if self.is_taking:
                self.take(group)
            case events.PolicySent(uuid, number, ticket):
                if self.is_accepting_policies is not None:
                    is_accepted = self.is_accepting_policies
                    self.monitor.send(AnswerPolicy(uuid, number, ticket, is_accepted))
            case _:
                pass

    async def wait_for(self, event: events.Event) -> None:
        """Wait until the monitor has posted an event."""
        await until(lambda: event in self.posted, f"{event}")

    # What main does

    def pid(self) -> int:
        """Return the monitor's process ID; there must be a monitor."""
        pid = self.monitor.pid
        assert pid is not None
        return pid

    def prepare(self, number: int = 0) -> PreparedGroup:
        """Create a group's files, with originals that no kernel has by default."""
        directory = self._directory / f"policy{number}"
        directory.mkdir(exist_ok=True)
        values = {
            "scaling_setspeed": f"{1_000_000 + number}\n",
            "scaling_max_freq": f"{2_900_000 + number}\n",
            "scaling_governor": f"governor-{number}\n",
        }
        for name, value in values.items():
            (directory / name).write_text(value)
        originals = tuple(Original(path=n, value=v.encode()) for n, v in values.items())
        fds = [os.open(directory / name, os.O_RDWR) for name in values]
        group = ClockGroup(
            number=number,
            pcpus=frozenset({PCpu(number)}),
            driver="acpi-cpufreq",
            mechanism="setspeed",
            identity=1,
            governor=values["scaling_governor"].strip(),
            min_khz=LOWEST,
            max_khz=TURBO,
            steps=STEPS,
            is_simulated=True,
        )
        prepared = PreparedGroup(
            group=group,
            originals=originals,
            writer=SetspeedWriter(fds[:1]),
            original_fds=tuple(fds),
        )
        self._prepared[number] = prepared
        return prepared

    def take(self, number: int = 0) -> None:
        """Switch the governor, and answer the monitor."""
        self.file(number, "scaling_governor").write_text("userspace\n")
        self.monitor.send(AnswerTake(number, is_taken=True))

    def add_group(self, number: int = 0) -> None:
        """Define a group and hand it over, untaken."""
        self.monitor.send(self.group(number))
        self.hand_over(self.prepare(number), is_taken=False)

    def hand_over(self, prepared: PreparedGroup, *, is_taken: bool) -> None:
        command = HandOver(
            prepared.group.number,
            is_taken,
            originals=tuple(o.value.decode() for o in prepared.originals),
            taken_values=tuple(o.taken_value.decode() for o in prepared.originals),
            writer=prepared.group.mechanism,
        )
        self.monitor.send(command, [*prepared.writer.fds, *prepared.original_fds])

    def group(self, number: int = 0, *, override_khz: int | None = None) -> DefineGroup:
        return DefineGroup(
            group=number,
            steps=STEPS,
            limits=Limits(LOWEST, TURBO),
            override_khz=override_khz,
        )

    def hand_over_again(self, number: int = 0) -> None:
        self.hand_over(self._prepared[number], is_taken=True)

    def define_domain(
        self, *groups: int | None, uuid: DomainId = UUID, is_enforced: bool = True
    ) -> None:
        vcpus = tuple(
            VCpuDefinition(vcpu=number, group=group, limits=Limits(LOWEST, TURBO))
            for number, group in enumerate(groups)
        )
        definition = DefineDomain(
            uuid=uuid,
            is_executing=True,
            is_enforced=is_enforced,
            permissions=tuple(Permission),
            vcpus=vcpus,
        )
        self.monitor.send(definition)

    def open_channel(
        self, number: int = 0, uuid: DomainId = UUID, steps: PortSteps | None = None
    ) -> Guest:
        theirs, ours = socket.socketpair()

        def count_lost() -> int:
            counted = self.counters(number, uuid)
            return counted.late + counted.dropped

        guest = Guest(theirs, count_lost)
        self._guests.append(guest)
        self.monitor.adopt(uuid, number, ours, steps)
        return guest

    def simple(self) -> Guest:
        """One group, one domain with one vCPU in it, one channel."""
        self.add_group()
        self.define_domain(0)
        return self.open_channel()

    # What can be observed

    def file(self, number: int, name: str) -> Path:
        return self._directory / f"policy{number}" / name

    def frequency(self, number: int = 0) -> int:
        return int(self.file(number, "scaling_setspeed").read_text().split("\n")[0])

    def counters(self, number: int = 0, uuid: DomainId = UUID) -> Counters:
        return self.monitor.snapshot().channels[uuid, number]

    async def count(self, number: int = 0, **expected: int) -> None:
        """Wait until a channel's counters have these values."""

        def has_counts() -> bool:
            counted = self.counters(number)
            return all(getattr(counted, name) == n for name, n in expected.items())

        await until(has_counts, f"{expected}")


class Guest:
    """The guest's end of a channel."""

    def __init__(self, sock: socket.socket, count_lost: Callable[[], int]) -> None:
        """Use an end of a socket pair.

        Args:
            sock: this end; owned by this object.
            count_lost: returns how many answers the monitor has not sent.
        """
        sock.settimeout(0)
        self.sock = sock
        self._count_lost = count_lost

    def close(self) -> None:
        self.sock.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self, size: int = SIZE) -> bytes:
        """Return that many bytes; fewer only if the other side hangs up."""
        loop, data = asyncio.get_running_loop(), b""
        async with asyncio.timeout(TIMEOUT_S):
            while len(data) < size:
                piece = await loop.sock_recv(self.sock, size - len(data))
                if not piece:
                    break
                data += piece
        return data

    async def exchange(self, packet: bytes, size: int | None = None) -> bytes:
        """Send a packet until it is answered.

        The monitor drops an answer that would be late, as on a busy machine, and counts
        it. Only then is the packet repeated. So each packet is answered or counted, and
        the next answer belongs to the next packet.

        Args:
            packet: what is sent.
            size: of the answer; None: that of the packet.
        """
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                lost = self._count_lost()
                await self.send(packet)
                while self._count_lost() == lost:
                    with contextlib.suppress(BlockingIOError):
                        self.sock.recv(1, socket.MSG_PEEK)
                        return await self.receive(size or len(packet))
                    await asyncio.sleep(0.001)

    async def request(self, unit: int, vcpu: int = 0, core_type: int = 0) -> str:
        """Send a request and return the kind of answer; see `exchange`.

        A request that is repeated takes effect twice: UP and DOWN move two steps.
        """
        packet = encode(Request(vcpu, unit, core_type=core_type))
        refusal = packet[:12] + b"\2" + packet[13:]
        answer = await self.exchange(packet)
        return {packet: "ACK", refusal: "NACK"}.get(answer, "?")


async def until(is_true: Callable[[], bool], what: str) -> None:
    """Wait for a condition by polling."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not is_true():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"timed out waiting for: {what}") from None


@asynccontextmanager
async def monitor_harness(
    directory: Path, *, release_after_s: float = 30.0
) -> AsyncIterator[MonitorHarness]:
    """Run a main with a monitor, and end both."""
    main = MonitorHarness(directory, release_after_s=release_after_s)
    await main.monitor.start()
    try:
        yield main
    finally:
        await main.monitor.stop(TIMEOUT_S)
        main.close()


def with_monitor(
    test: Callable[[MonitorHarness], Awaitable[None]],
) -> Callable[[Path], None]:
    """Run a test with a harness of its own."""

    async def run(directory: Path) -> None:
        async with monitor_harness(directory) as main:
            await test(main)

    def wrapped(tmp_path: Path) -> None:
        asyncio.run(run(tmp_path))

    wraps(test)(wrapped)
    # pytest would look there for the test's arguments
    del wrapped.__dict__["__wrapped__"]
    return wrapped
