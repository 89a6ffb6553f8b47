# SPDX-License-Identifier: Apache-2.0
"""Owns the installed policies: samples for them, lets them decide, votes on changes.

Theory of operation: everything happens in `tick`. It takes the answers that arrived
since the last one, decides what needs no sample, requests the samples that are due, and
returns when it wants to be called again. Samples are read in threads, one at a time for
each policy (`SampleRequests`), and an answer wakes the caller. A policy whose sample
does not arrive in time decides without it, and a policy that knows nothing does not
vote. There is no clock and no thread in here, so that tests drive it by calling `tick`.

Policies of the same period are served in the same tick, so that a hundred domains cost
one wake-up of the process and not a hundred.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.policy.errors import PolicyError
from orchestrator.policy.installed import Installation
from orchestrator.policy.precedence import (
    effective_attributes,
    effective_votes,
    overridden_vcpus,
)
from orchestrator.policy.sample_requests import RequestId, SampleRequests
from orchestrator.policy.schedule import Outlook
from orchestrator.policy.subject import (
    PolicyEffect,
    PolicyStatus,
    PolicyVote,
    Source,
    SourceKind,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from orchestrator.policy.sample_requests import Submit
    from orchestrator.policy.subject import PolicyOrder, PolicySubject
    from orchestrator.sampling.contract import Sampler, SampleTarget
    from orchestrator.sampling.kinds import SampleKind, Samplers
    from orchestrator.values.domain import DomainId

CONFIGURED_KINDS = frozenset({SourceKind.RULE, SourceKind.METADATA})
"""Sources whose policies last as long as they are written down."""
SLACK_S = 0.0005
"""What is due this soon is done now: it saves a wake-up."""
INDIVIDUALLY_AFTER_S = 1.0
"""A request that waits in a batch for longer is sent individually too: another domain
of the batch may be what hangs."""
ANSWER_WITHIN_S = 5.0
"""A policy whose request is pending for longer decides without; libvirt can hang for
30 s."""


class PolicyEngine:
    """The installed policies of all running domains, and their votes.

    Synchronization: one thread, the one that calls `tick`.
    """

    def __init__(
        self,
        *,
        samplers: Samplers,
        submit: Submit,
        emit: Callable[[PolicyVote], None],
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        """Install nothing yet.

        Args:
            samplers: read what policies need.
            submit: runs them in threads.
            emit: receives a vote that changed; must not call back.
            wake: requests a tick soon; called from any thread.
        """
        self._samplers = samplers
        self._requests = SampleRequests(samplers=samplers, submit=submit, wake=wake)
        self._emit = emit
        self._wake = wake
        self._subjects: dict[DomainId, PolicySubject] = {}
        self._installed: dict[DomainId, dict[Source, Installation]] = {}
        self._voted: dict[DomainId, dict[int, int]] = {}
        self._requested = 0
        self._targets: dict[DomainId, frozenset[tuple[SampleKind, SampleTarget]]] = {}
        """What is sampled, by domain."""

    # Domains

    def update_subject(self, subject: PolicySubject) -> None:
        """Add a running domain, or apply what changed about it.

        A vCPU that vanished or changed its clock group has lost its vote in the
        monitor; it is dropped here, and voted for again if that is still possible.
        """
        old = self._subjects.get(subject.uuid)
        if subject == old:
            return
        self._subjects[subject.uuid] = subject
        if not subject.may_install:
            self.end_guest(subject.uuid)
        groups = {place.vcpu: place.group for place in subject.places}
        before = {place.vcpu: place.group for place in old.places} if old else {}
        lost = {vcpu for vcpu, group in before.items() if groups.get(vcpu) != group}
        for vcpu in lost:
            self._voted.get(subject.uuid, {}).pop(vcpu, None)
        for item in self._of(subject.uuid):
            item.due_s = 0.0
            # What was read before a pause, or of other CPUs, is not comparable.
            item.reading = None
            for vcpu in lost:
                item.wants_khz.pop(vcpu, None)
        self._settle(subject.uuid)
        self._attach(subject.uuid)

    def forget_subject(self, uuid: DomainId) -> None:
        """End all policies of a domain that is no longer running."""
        self._installed.pop(uuid, None)
        self._settle(uuid)
        self._attach(uuid)
        self._subjects.pop(uuid, None)
        self._voted.pop(uuid, None)

    # Policies

    def install(self, uuid: DomainId, source: Source, order: PolicyOrder) -> bool:
        """Install a policy in place of the previous one of its source.

        A guest's policy also takes its vCPUs out of the policies that arrived on the
        guest's other channels.

        Returns:
            Whether anything changed: installing the same policy again does not.

        Raises:
            PolicyError: it can never work here, or the domain is not running.
        """
        subject = self._subjects.get(uuid)
        if subject is None:
            raise PolicyError("the domain is not running")
        sources = self._installed.get(uuid, {})
        before = sources.get(source)
        if before is not None and before.order == order:
            return False
        policy = order.policy
        new = Installation(order=order, outlook=Outlook(policy), memory=policy.begin())
        new.attach(subject)
        self._check_sample(new)
        if before is not None:
            new.follow(before)
        if source.kind is SourceKind.GUEST:
            self._take_over(sources, source, order)
        self._installed.setdefault(uuid, sources)[source] = new
        if new.target is not None:
            # Without a sample it has no vote, and samples may be long in coming; other
            # policies decide in the next tick, which is due now.
            self._settle(uuid)
        self._attach(uuid)
        self._wake()
        return True

    def _check_sample(self, new: Installation) -> None:
        sampler = self._sampler_of(new)
        if sampler is None or new.target is None:
            return
        obstacle = sampler.find_obstacle(new.target)
        if obstacle is None:
            return
        if new.order.policy.works_without_sample:
            new.problem = obstacle
            return
        # Part of the target may have been opened.
        self._keep()
        raise PolicyError(f"{new.order.policy.kind}: {obstacle}")

    def _take_over(
        self, sources: dict[Source, Installation], source: Source, order: PolicyOrder
    ) -> None:
        for other, item in list(sources.items()):
            if other.kind is not SourceKind.GUEST or other == source:
                continue
            left = (item.order.vcpus or frozenset()) - (order.vcpus or frozenset())
            item.order = replace(item.order, vcpus=left)
            item.wants_khz = {v: k for v, k in item.wants_khz.items() if v in left}
            if not left:
                del sources[other]

    def remove(self, uuid: DomainId, source: Source) -> bool:
        """End the policy of a source; return whether there was one."""
        return self._remove_where(uuid, lambda other: other == source)

    def sources(self, uuid: DomainId) -> tuple[Source, ...]:
        """Return the sources of a domain's policies."""
        return tuple(self._installed.get(uuid, {}))

    def end_guest(self, uuid: DomainId, channel: int | None = None) -> bool:
        """End the policies that a guest has sent; return whether there were any.

        Args:
            uuid: the domain.
            channel: the channel that ended; None: all, the guest rebooted or asks for
                it.
        """
        return self._remove_where(
            uuid,
            lambda source: (
                source.kind is SourceKind.GUEST and channel in (None, source.channel)
            ),
        )

    def apply_configured(
        self, uuid: DomainId, orders: Mapping[Source, PolicyOrder]
    ) -> dict[Source, str | None]:
        """Make these the policies of a domain's rules and metadata.

        Returns:
            Those that are new (None), and those that cannot work, with the reason.
        """
        self._remove_where(
            uuid, lambda s: s.kind in CONFIGURED_KINDS and s not in orders
        )
        outcomes: dict[Source, str | None] = {}
        for source, order in orders.items():
            try:
                if self.install(uuid, source, order):
                    outcomes[source] = None
            except PolicyError as error:
                self.remove(uuid, source)
                outcomes[source] = str(error)
        return outcomes

    def _remove_where(self, uuid: DomainId, is_ended: Callable[[Source], bool]) -> bool:
        sources = self._installed.get(uuid, {})
        ended = [source for source in sources if is_ended(source)]
        for source in ended:
            del sources[source]
        if not sources:
            self._installed.pop(uuid, None)
        if ended:
            self._settle(uuid)
            self._attach(uuid)
        return bool(ended)

    def statuses(self, uuid: DomainId | None = None) -> Iterator[PolicyStatus]:
        """Yield what is installed for a domain; None: for all."""
        for owner in self._installed if uuid is None else (uuid,):
            sources = self._installed.get(owner, {})
            for source, item in sources.items():
                yield PolicyStatus(
                    uuid=owner,
                    source=source,
                    order=item.order,
                    wants_khz=item.shown_wants,
                    overridden=frozenset(overridden_vcpus(sources, source)),
                    problem=item.problem,
                    outlook=item.outlook,
                )

    def effect(self, uuid: DomainId) -> PolicyEffect:
        """Return what the policies of a domain apply to."""
        covered = (place.vcpu for item in self._of(uuid) for place in item.places)
        return PolicyEffect(
            frozenset(covered), effective_attributes(self._installed.get(uuid, {}))
        )

    # Time

    def tick(self, now: datetime, monotonic_s: float) -> float | None:
        """Do what is due.

        Args:
            now: the wall time, aware, in the host's zone.
            monotonic_s: for intervals.

        Returns:
            Seconds until the next tick; None: not before something changes.
        """
        self._take_answers(now, monotonic_s)
        for uuid, source, item in self._active():
            if item.due_s <= monotonic_s + SLACK_S:
                item.due_s = next_due_s(monotonic_s, item.order.policy.period_s)
                self._serve(uuid, source, item, now, monotonic_s)
        self._requests.send()
        self._take_answers(now, monotonic_s)
        due = [item.due_s for _, _, item in self._active()]
        return max(0.0, min(due) - monotonic_s) if due else None

    def _active(self) -> list[tuple[DomainId, Source, Installation]]:
        return [
            (uuid, source, item)
            for uuid, sources in self._installed.items()
            if self._subjects[uuid].is_executing
            for source, item in sources.items()
        ]

    def _serve(
        self,
        uuid: DomainId,
        source: Source,
        item: Installation,
        now: datetime,
        monotonic_s: float,
    ) -> None:
        kind = item.order.policy.sample
        if kind is None or item.target is None:
            self._decide(uuid, item, None, "", now, monotonic_s)
        elif item.request_id is None:
            self._requested += 1
            item.request_id = RequestId(uuid, source, self._requested)
            item.requested_s = monotonic_s
            item.is_overdue = False
            self._requests.add(item.request_id, kind, item.target)
        else:
            self._wait(item, item.request_id, now, monotonic_s)

    def _wait(
        self,
        item: Installation,
        request_id: RequestId,
        now: datetime,
        monotonic_s: float,
    ) -> None:
        """Go on without an answer that has not arrived yet."""
        waited_s = monotonic_s - item.requested_s
        if waited_s >= INDIVIDUALLY_AFTER_S:
            self._requests.request_individually(request_id)
        if item.is_overdue or waited_s >= ANSWER_WITHIN_S:
            item.is_overdue = True
            problem = f"no answer for {waited_s:.0f} s"
            self._decide(request_id.uuid, item, None, problem, now, monotonic_s)

    def _take_answers(self, now: datetime, monotonic_s: float) -> None:
        for request_id, reading, problem in self._requests.take_answers():
            uuid = request_id.uuid
            item = self._installed.get(uuid, {}).get(request_id.source)
            if item is not None and item.request_id == request_id:
                item.request_id = None
                self._decide(uuid, item, reading, problem, now, monotonic_s)

    def _decide(
        self,
        uuid: DomainId,
        item: Installation,
        reading: Any,  # noqa: ANN401 - of the policy's sampler
        problem: str,
        now: datetime,
        monotonic_s: float,
    ) -> None:
        item.problem = problem
        item.decide(self._sampler_of(item), reading, now, monotonic_s)
        self._settle(uuid)

    # Votes

    def _of(self, uuid: DomainId) -> Iterator[Installation]:
        yield from self._installed.get(uuid, {}).values()

    def _settle(self, uuid: DomainId) -> None:
        """Emit the votes that changed."""
        votes = effective_votes(self._installed.get(uuid, {}))
        voted = self._voted.get(uuid, {})
        if votes == voted:
            return
        self._voted[uuid] = votes
        for vcpu in sorted(votes.keys() | voted.keys()):
            if votes.get(vcpu) != voted.get(vcpu):
                self._emit(PolicyVote(uuid, vcpu, votes.get(vcpu)))

    # Samples

    def _sampler_of(self, item: Installation) -> Sampler[Any, Any] | None:
        kind = item.order.policy.sample
        return None if kind is None else self._samplers[kind]

    def _attach(self, uuid: DomainId) -> None:
        """Apply a change of a domain or its policies to what is sampled of it."""
        targets = set()
        for item in self._of(uuid):
            item.attach(self._subjects[uuid])
            kind = item.order.policy.sample
            if kind is not None and item.target is not None:
                targets.add((kind, item.target))
        if targets != self._targets.get(uuid, frozenset()):
            self._targets[uuid] = frozenset(targets)
            if not targets:
                del self._targets[uuid]
            self._keep()

    def _keep(self) -> None:
        """Release the counters that no policy needs any more."""
        by_kind: dict[SampleKind, list[SampleTarget]] = {
            it: [] for it in self._samplers
        }
        for targets in self._targets.values():
            for kind, target in targets:
                by_kind[kind].append(target)
        for kind, sampler in self._samplers.items():
            sampler.keep(by_kind[kind])


def next_due_s(monotonic_s: float, period_s: float) -> float:
    """Return when to decide again: at a multiple of the period, about one from now.

    At least half a period, so that two readings are never too close to compare.
    """
    return (round(monotonic_s / period_s) + 1) * period_s
