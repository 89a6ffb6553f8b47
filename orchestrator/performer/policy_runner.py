"""Runs the policies: the engine's clock, its threads, and the way to the monitor.

Theory of operation: the engine says when it wants to be called again, and is called
then, or when a thread has an answer for it. Without policies nothing is called, and no
thread wakes up. What is read from the host's files is read in one thread of its own.
What libvirt must be asked about one domain waits in its line, behind whatever hangs
there, and so costs no other domain anything; what it is asked about many has a line of
its own.

Synchronization: the asyncio thread only, but for what the threads themselves call.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.performer.call_pool import Pool
from orchestrator.policy.engine import PolicyEngine
from orchestrator.policy.errors import PolicyError
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.sampling.question import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.policy.subject import (
        PolicyOrder,
        PolicyStatus,
        PolicyVote,
        Tenant,
    )
    from orchestrator.sampling.contract import Sampling
    from orchestrator.values.domain import DomainId


class Policing:
    """The policies of all domains, at work.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        *,
        sampling: Sampling,
        libvirt_calls: Pool,
        vote: Callable[[DomainId, int, int | None], None],
        post: Callable[[events.Event], None],
    ) -> None:
        """Do nothing yet.

        Args:
            sampling: reads counters, in threads.
            libvirt_calls: where calls about domains wait, one at a time for each.
            vote: tells the monitor: domain, vCPU, kHz; None: no vote any more.
            post: takes events.
        """
        self._sampling = sampling
        self._libvirt_calls = libvirt_calls
        self._counters = Pool("counters", size=1)
        self._vote = vote
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._engine = PolicyEngine(
            sampling=sampling, submit=self._submit, emit=self._emit, wake=self._wake
        )
        self._timer: asyncio.TimerHandle | None = None
        self._looks = itertools.count()
        self._is_woken = False
        self._is_stopped = False

    # Domains

    def define(self, tenant: Tenant, standing: Mapping[Source, PolicyOrder]) -> None:
        """Take note of a running domain, and of the policies written down for it."""
        before = self._engine.covered(tenant.uuid)
        self._engine.define(tenant)
        outcomes = self._engine.apply_standing(tenant.uuid, standing)
        for source, problem in outcomes.items():
            kind = standing[source].policy.kind
            self._post(
                events.PolicyInstalled(tenant.uuid, source, kind)
                if problem is None
                else events.PolicyRefused(tenant.uuid, source, problem)
            )
        self._tell_covered(tenant.uuid, before)
        self._wake()

    def forget(self, uuid: DomainId) -> None:
        """End all policies of a domain; before the monitor forgets it."""
        self._engine.forget(uuid)

    # Policies

    def install(self, uuid: DomainId, source: Source, order: PolicyOrder) -> bool:
        """Install a policy; say whether that changed anything.

        Raises:
            PolicyError: it can never work here, or the domain does not run.
        """
        before = self._engine.covered(uuid)
        is_new = self._engine.install(uuid, source, order)
        self._tell_covered(uuid, before)
        return is_new

    def install_for_guest(
        self, uuid: DomainId, number: int, ticket: int, order: PolicyOrder
    ) -> None:
        """Install what a guest has sent, and post what came of it."""
        source = Source(SourceKind.GUEST, channel=number)
        kind = order.policy.kind
        try:
            is_news = self.install(uuid, source, order)
        except PolicyError as error:
            self._post(events.PolicyRefused(uuid, source, str(error), ticket))
        else:
            self._post(
                events.PolicyInstalled(uuid, source, kind, ticket, is_news=is_news)
            )

    def remove(self, uuid: DomainId, source: Source) -> bool:
        """End a policy; say whether there was one."""
        before = self._engine.covered(uuid)
        was_there = self._engine.remove(uuid, source)
        self._tell_covered(uuid, before)
        return was_there

    def end_guest(self, uuid: DomainId, number: int | None) -> None:
        """End what a guest has installed over a channel; None: over any."""
        before = self._engine.covered(uuid)
        self._engine.end_guest(uuid, number)
        self._tell_covered(uuid, before)

    def statuses(self) -> Iterable[PolicyStatus]:
        """Tell what is in force."""
        return self._engine.statuses()

    def _tell_covered(self, uuid: DomainId, before: frozenset[int]) -> None:
        now = self._engine.covered(uuid)
        if now != before:
            self._post(events.PoliciesChanged(uuid, now))

    # Time

    def stop(self) -> None:
        """Decide nothing more; counters are closed."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._counters.stop()
        self._sampling.keep(())

    def _wake(self) -> None:
        """Ask for a tick; from any thread."""
        if self._is_woken:
            return
        self._is_woken = True
        # An answer that comes when the loop is closed interests nobody.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tick)

    def _tick(self) -> None:
        # Before the work: what is answered meanwhile asks for another tick.
        self._is_woken = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_stopped:
            return
        delay_s = self._engine.tick(datetime.now(UTC).astimezone(), time.monotonic())
        if delay_s is not None:
            self._timer = self._loop.call_later(delay_s, self._tick)

    def _submit(
        self, need: Need, uuid: DomainId | None, work: Callable[[], object]
    ) -> None:
        """Run a question in a thread; from any thread."""
        pool = self._libvirt_calls if need is Need.UTILISATION else self._counters
        # Each asks for itself: none makes another's question superfluous.
        pool.submit(uuid or "many domains", f"look {next(self._looks)}", work)

    def _emit(self, vote: PolicyVote) -> None:
        self._vote(vote.uuid, vote.vcpu, vote.khz)
