# SPDX-License-Identifier: Apache-2.0
"""What ends when a guest's program closes its port: a real monitor, in real time.

The programs of a guest share one socket, as they share one channel of the daemon.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.channel.protocol import Unit
from orchestrator.controller.actions import EndPortSession
from orchestrator.controller.guest_ports import PORT_STATE_LAGS_NS
from orchestrator.performer.call_pool import CallPool
from orchestrator.performer.policy_runner import PolicyRunner
from orchestrator.performer.port_sessions import PortSessions
from orchestrator.sampling.kinds import build_samplers
from tests.monitor.monitor_harness import LOWEST, TURBO, UUID, monitor_harness, until
from tests.policy.engine_harness import LOW, order, subject
from tests.sampling.test_sampling import Times

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.monitor.monitor_harness import Guest, MonitorHarness

LONG_NS = 60_000_000_000


class Host:
    """A monitor with one channel, policies beside it, and port sessions."""

    def __init__(self, main: MonitorHarness, guest: Guest, root: Path) -> None:
        self.main, self.guest = main, guest
        self.posted: list[events.Event] = []
        self.calls = CallPool("libvirt", size=1)
        self.policy_runner = PolicyRunner(
            samplers=build_samplers(sysfs_root=root, vcpu_times=Times(None)),
            libvirt_calls=self.calls,
            vote=lambda _uuid, _vcpu, _khz: None,
            post=lambda _event: None,
        )
        self.policy_runner.update_subject(subject(uuid=UUID), {})
        self.sessions = PortSessions(
            main.monitor, self.policy_runner, self.posted.append
        )

    async def request_all(self) -> None:
        """Let the guest vote for the lowest step, and send a policy."""
        assert await self.guest.request(Unit.SCALE_MIN) == "ACK"
        self.policy_runner.install_for_guest(UUID, 0, 1, order(LOW))
        assert self.requested() == (LOWEST, 1)

    def requested(self) -> tuple[int, int]:
        """Return the frequency, and the number of policies."""
        return self.main.frequency(), len(list(self.policy_runner.statuses()))

    def end(self, *, at_ns: int, is_closed: bool = True) -> None:
        self.sessions.end(EndPortSession(UUID, 0, at_ns, is_closed=is_closed))


@asynccontextmanager
async def host(directory: Path) -> AsyncIterator[Host]:
    async with monitor_harness(directory) as main:
        made = Host(main, main.simple(), directory)
        yield made
        made.policy_runner.stop()
        made.calls.stop()


def test_a_close_ends_what_was_requested_before_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with host(tmp_path) as made:
            await made.request_all()
            made.end(at_ns=time.monotonic_ns() + LONG_NS)
            await until(lambda: made.requested() == (TURBO, 0), "the end of both")
            assert made.posted == []

    asyncio.run(scenario())


def test_a_close_that_is_reported_late_ends_nothing_of_the_next_program(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with host(tmp_path) as made:
            before_ns = time.monotonic_ns()
            await made.request_all()
            made.end(at_ns=before_ns)
            made.end(at_ns=before_ns)  # reported twice: checked once
            unconfirmed = events.PortCloseUnconfirmed(UUID, 0)
            await until(lambda: made.posted == [unconfirmed], "a check of the port")
            # Silent for so long that the port's state in libvirt is current.
            assert time.monotonic_ns() - before_ns > PORT_STATE_LAGS_NS
            assert made.requested() == (LOWEST, 1)
            made.end(at_ns=time.monotonic_ns())
            await until(lambda: made.requested() == (TURBO, 0), "the end of both")

    asyncio.run(scenario())


def test_opening_a_port_again_ends_what_its_last_program_requested(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with host(tmp_path) as made:
            before_ns = time.monotonic_ns()
            await made.request_all()
            made.end(at_ns=before_ns, is_closed=False)
            assert made.requested() == (LOWEST, 1)
            made.end(at_ns=time.monotonic_ns() + LONG_NS, is_closed=False)
            await until(lambda: made.requested() == (TURBO, 0), "the end of both")
            assert made.posted == []

    asyncio.run(scenario())


def test_a_channel_without_data_has_no_time_of_the_last_receipt(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with host(tmp_path) as made:
            assert made.main.monitor.last_received_ns(UUID, 0) == 0
            await made.request_all()
            assert made.main.monitor.last_received_ns(UUID, 0) > 0
            assert made.main.monitor.last_received_ns(UUID, 7) == 0

    asyncio.run(scenario())
