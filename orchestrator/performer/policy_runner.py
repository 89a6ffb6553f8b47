# SPDX-License-Identifier: Apache-2.0
"""Runs the policies: the engine's timer and threads, and its votes for the monitor.

Theory of operation: the engine returns when it has to be called next, and is called
then, or when a thread has read a sample for it. Without policies nothing is called and
no thread wakes up. Host files are read in one thread. A libvirt call about one domain
waits in the queue of that domain, behind other calls that may hang there, and so delays
no other domain; calls about many domains have a separate queue.

Synchronization: the asyncio thread only, except for what the threads themselves call.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.performer.call_pool import CallPool
from orchestrator.policy.engine import PolicyEngine
from orchestrator.policy.errors import PolicyError
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.sampling.contract import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from orchestrator.policy.subject import (
        PolicyEffect,
        PolicyOrder,
        PolicyStatus,
        PolicySubject,
        PolicyVote,
    )
    from orchestrator.sampling.kinds import Samplers
    from orchestrator.values.domain import DomainId


class PolicyRunner:
    """Runs the policies of all domains.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        *,
        samplers: Samplers,
        libvirt_calls: CallPool,
        vote: Callable[[DomainId, int, int | None], None],
        post: Callable[[events.Event], None],
    ) -> None:
        """Run nothing yet.

        Args:
            samplers: read counters, in threads.
            libvirt_calls: runs calls about domains, one at a time for each.
            vote: sends a vote to the monitor: domain, vCPU, kHz; None: no vote.
            post: receives events.
        """
        self._samplers = samplers
        self._host_files = CallPool("counters", size=1)
        self._pools = {Lane.HOST_FILES: self._host_files, Lane.LIBVIRT: libvirt_calls}
        self._vote = vote
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._engine = PolicyEngine(
            samplers=samplers, submit=self._submit, emit=self._emit, wake=self._wake
        )
        self._timer: asyncio.TimerHandle | None = None
        self._reads = itertools.count()
        self._is_woken = False
        self._is_stopped = False

    # Domains

    def update_subject(
        self, subject: PolicySubject, configured: Mapping[Source, PolicyOrder]
    ) -> None:
        """Add or update a running domain, with its configured policies."""
        uuid = subject.uuid
        before = self._engine.effect(uuid)
        with self._reporting_ended(uuid, "the domain may not send policies any more"):
            self._engine.update_subject(subject)
        before_sources = self._engine.sources(uuid)
        outcomes = self._engine.apply_configured(uuid, configured)
        self._report_ended(
            uuid,
            (source for source in before_sources if source not in outcomes),
            "it is not configured any more",
        )
        for source, problem in outcomes.items():
            kind = configured[source].policy.kind
            self._post(
                events.PolicyInstalled(uuid, source, kind)
                if problem is None
                else events.PolicyRefused(uuid, source, problem)
            )
        self._report_effect(uuid, before)
        self._wake()

    def forget_subject(self, uuid: DomainId) -> None:
        """End all policies of a domain; before the monitor forgets it."""
        with self._reporting_ended(uuid, "the domain was shut off"):
            self._engine.forget_subject(uuid)

    # Policies

    def install(self, uuid: DomainId, source: Source, order: PolicyOrder) -> bool:
        """Install a policy; return whether that changed anything.

        Raises:
            PolicyError: it can never work here, or the domain is not running.
        """
        before = self._engine.effect(uuid)
        is_new = self._engine.install(uuid, source, order)
        self._report_effect(uuid, before)
        return is_new

    def install_for_guest(
        self, uuid: DomainId, number: int, ticket: int, order: PolicyOrder
    ) -> None:
        """Install a policy sent by a guest, and post the outcome."""
        source = Source(SourceKind.GUEST, channel=number)
        kind = order.policy.kind
        try:
            with self._reporting_ended(uuid, f"replaced by that of {source}"):
                is_news = self.install(uuid, source, order)
        except PolicyError as error:
            self._post(events.PolicyRefused(uuid, source, str(error), ticket))
        else:
            self._post(
                events.PolicyInstalled(uuid, source, kind, ticket, is_news=is_news)
            )

    def resume(self, uuid: DomainId, source: Source, order: PolicyOrder) -> None:
        """Install a policy of an earlier run of the daemon, and post the outcome."""
        kind = order.policy.kind
        try:
            is_news = self.install(uuid, source, order)
        except PolicyError as error:
            self._post(events.PolicyRefused(uuid, source, str(error)))
        else:
            self._post(
                events.PolicyInstalled(
                    uuid, source, kind, is_news=is_news, is_resumed=True
                )
            )

    def remove(self, uuid: DomainId, source: Source) -> bool:
        """End the policy of a source; return whether there was one."""
        before = self._engine.effect(uuid)
        was_there = self._engine.remove(uuid, source)
        self._report_effect(uuid, before)
        return was_there

    def end_guest(self, uuid: DomainId, number: int | None, cause: str) -> None:
        """End the policies that a guest sent on a channel, and post that.

        Args:
            uuid: the domain.
            number: of the channel; None: on any channel.
            cause: why, for people.
        """
        before = self._engine.effect(uuid)
        with self._reporting_ended(uuid, cause):
            self._engine.end_guest(uuid, number)
        self._report_effect(uuid, before)

    def statuses(self, uuid: DomainId | None = None) -> Iterable[PolicyStatus]:
        """Return the policies that are in effect for a domain; None: for all."""
        return self._engine.statuses(uuid)

    @contextlib.contextmanager
    def _reporting_ended(self, uuid: DomainId, cause: str) -> Iterator[None]:
        before = self._engine.sources(uuid)
        yield
        self._report_ended(uuid, before, cause)

    def _report_ended(
        self, uuid: DomainId, before: Iterable[Source], cause: str
    ) -> None:
        now = self._engine.sources(uuid)
        for source in before:
            if source not in now:
                self._post(events.PolicyEnded(uuid, source, cause))

    def _report_effect(self, uuid: DomainId, before: PolicyEffect) -> None:
        now = self._engine.effect(uuid)
        if now != before:
            self._post(events.PoliciesChanged(uuid, now))

    # Time

    def stop(self) -> None:
        """Stop deciding, and close the counters."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._host_files.stop()
        for sampler in self._samplers.values():
            sampler.keep(())

    def _wake(self) -> None:
        """Request a tick; from any thread."""
        if self._is_woken:
            return
        self._is_woken = True
        # A sample that arrives after the loop was closed is dropped.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tick)

    def _tick(self) -> None:
        # Before the work: a sample that arrives during it requests another tick.
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
        self, lane: Lane, uuid: DomainId | None, work: Callable[[], object]
    ) -> None:
        """Read a sample in a thread; from any thread."""
        # A unique kind, so that no read replaces another one that waits.
        name = f"read {next(self._reads)}"
        self._pools[lane].submit(uuid or "many domains", name, work)

    def _emit(self, vote: PolicyVote) -> None:
        self._vote(vote.uuid, vote.vcpu, vote.khz)
