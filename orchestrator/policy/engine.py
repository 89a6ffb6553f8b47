"""Owns the installed policies: asks when they are due, lets decide, votes on change.

Theory of operation: `tick` is all that ever happens. It takes in the answers that came
since the last one, decides what needs no answer, asks for what is due, and says when it
wants to be called again. Questions are answered in threads (`inquiry`), one at a time
for each policy, and wake whoever ticks. A question that is not answered in time makes
its policy blind: it sees nothing, and what sees nothing does not vote. There is no
clock and no thread in here, so that tests drive it by calling `tick`.

Policies of the same period are served in the same tick, so that a hundred domains cost
one wake-up of the process and not a hundred.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.policy.errors import PolicyError
from orchestrator.policy.installed import Installation
from orchestrator.policy.precedence import count_votes, find_outranked
from orchestrator.policy.sample_requests import Asker, Inquiry
from orchestrator.policy.subject import PolicyStatus, PolicyVote, Source, SourceKind
from orchestrator.sampling.question import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from orchestrator.policy.sample_requests import Submit
    from orchestrator.policy.subject import PolicyOrder, Tenant
    from orchestrator.sampling.contract import Sampling
    from orchestrator.sampling.readings import Reading
    from orchestrator.values.domain import DomainId

STANDING_KINDS = frozenset({SourceKind.RULE, SourceKind.METADATA})
"""Whose policies stand as long as somebody has them written down."""
SLACK_S = 0.0005
"""What is due so soon is done now: it saves a wake-up."""
ALONE_AFTER_S = 1.0
"""A question that was asked with others, and under way for longer, is asked alone too:
one of the others may be what hangs."""
ANSWER_WITHIN_S = 5.0
"""A question under way for longer makes its policy blind; libvirt can hang for 30 s."""


class PolicyEngine:
    """The installed policies of all running domains, and their votes.

    Synchronization: one thread, the one that ticks.
    """

    def __init__(
        self,
        *,
        sampling: Sampling,
        submit: Submit,
        emit: Callable[[PolicyVote], None],
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        """Install nothing yet.

        Args:
            sampling: answers questions.
            submit: runs its reading in a thread.
            emit: takes a vote that changed; must not call back.
            wake: asks for a tick soon; called from any thread.
        """
        self._sampling = sampling
        self._inquiry = Inquiry(sampling=sampling, submit=submit, wake=wake)
        self._emit = emit
        self._wake = wake
        self._tenants: dict[DomainId, Tenant] = {}
        self._installed: dict[DomainId, dict[Source, Installation]] = {}
        self._voted: dict[DomainId, dict[int, int]] = {}
        self._questions = 0
        self._counted: frozenset[int] = frozenset()

    # Domains

    def define(self, tenant: Tenant) -> None:
        """Take note of a running domain, or of what changed about it.

        A vCPU that has vanished or changed its clock group has lost its vote in the
        monitor; here it is forgotten, and voted anew where it still can be.
        """
        old = self._tenants.get(tenant.uuid)
        if tenant == old:
            return
        self._tenants[tenant.uuid] = tenant
        if not tenant.may_install:
            self.end_guest(tenant.uuid)
        groups = {place.vcpu: place.group for place in tenant.places}
        before = {place.vcpu: place.group for place in old.places} if old else {}
        lost = {vcpu for vcpu, group in before.items() if groups.get(vcpu) != group}
        for vcpu in lost:
            self._voted.get(tenant.uuid, {}).pop(vcpu, None)
        for item in self._of(tenant.uuid):
            item.due_s = 0.0
            # What was counted before a pause, or elsewhere, says nothing of now.
            item.reading = None
            for vcpu in lost:
                item.wants_khz.pop(vcpu, None)
        self._settle(tenant.uuid)
        self._keep_counters()

    def forget(self, uuid: DomainId) -> None:
        """End all policies of a domain that does not run any more."""
        self._installed.pop(uuid, None)
        self._settle(uuid)
        self._tenants.pop(uuid, None)
        self._voted.pop(uuid, None)
        self._keep_counters()

    # Policies

    def install(self, uuid: DomainId, source: Source, order: PolicyOrder) -> bool:
        """Install a policy, in place of what its source installed before.

        A guest's policy also takes its vCPUs out of the policies that came over the
        guest's other channels.

        Returns:
            Whether anything changed: the same again changes nothing.

        Raises:
            PolicyError: it can never work here, or the domain does not run.
        """
        tenant = self._tenants.get(uuid)
        if tenant is None:
            raise PolicyError("the domain does not run")
        sources = self._installed.get(uuid, {})
        before = sources.get(source)
        if before is not None and before.order == order:
            return False
        new = Installation(order=order, memory=order.policy.begin())
        question = new.question(tenant)
        obstacle = question and self._sampling.find_obstacle(question)
        if obstacle:
            # The question may have been answered in part.
            self._sampling.keep(self._counted)
            raise PolicyError(f"{order.policy.kind}: {obstacle}")
        if before is not None:
            # No vote is withdrawn and given again in between.
            new.wants_khz = before.wants_khz
        if source.kind is SourceKind.GUEST:
            self._take_over(sources, source, order)
        self._installed.setdefault(uuid, sources)[source] = new
        self._keep_counters()
        self._wake()
        return True

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
        """End a source's policy; say whether there was one."""
        return self._remove_where(uuid, lambda other: other == source)

    def end_guest(self, uuid: DomainId, channel: int | None = None) -> bool:
        """End what a guest has installed; say whether there was anything.

        Args:
            uuid: the domain.
            channel: the channel that ended; None: its guest rebooted, or says so.
        """
        return self._remove_where(
            uuid,
            lambda source: (
                source.kind is SourceKind.GUEST and channel in (None, source.channel)
            ),
        )

    def apply_standing(
        self, uuid: DomainId, orders: Mapping[Source, PolicyOrder]
    ) -> dict[Source, str | None]:
        """Let the policies of a domain's rules and metadata be just these.

        Returns:
            Those that are new (None), and those that cannot be had, with the reason.
        """
        self._remove_where(uuid, lambda s: s.kind in STANDING_KINDS and s not in orders)
        outcomes: dict[Source, str | None] = {}
        for source, order in orders.items():
            try:
                if self.install(uuid, source, order):
                    outcomes[source] = None
            except PolicyError as error:
                self.remove(uuid, source)
                outcomes[source] = str(error)
        return outcomes

    def _remove_where(self, uuid: DomainId, is_meant: Callable[[Source], bool]) -> bool:
        sources = self._installed.get(uuid, {})
        ended = [source for source in sources if is_meant(source)]
        for source in ended:
            del sources[source]
        if not sources:
            self._installed.pop(uuid, None)
        if ended:
            self._settle(uuid)
            self._keep_counters()
        return bool(ended)

    def statuses(self) -> Iterator[PolicyStatus]:
        """Yield what is installed."""
        for uuid, sources in self._installed.items():
            for source, item in sources.items():
                yield PolicyStatus(
                    uuid=uuid,
                    source=source,
                    order=item.order,
                    wants_khz=dict(item.wants_khz),
                    outranked=frozenset(find_outranked(sources, source)),
                    problem=item.problem,
                )

    def covered(self, uuid: DomainId) -> frozenset[int]:
        """Return the vCPUs of a domain that some policy is about."""
        tenant = self._tenants.get(uuid)
        places = (
            place.vcpu
            for item in self._of(uuid)
            for place in (item.places(tenant) if tenant else ())
        )
        return frozenset(places)

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
        for uuid, source, item in self._at_work():
            if item.due_s <= monotonic_s + SLACK_S:
                item.due_s = next_due_s(monotonic_s, item.order.policy.period_s)
                self._serve(uuid, source, item, now, monotonic_s)
        self._inquiry.send()
        self._take_answers(now, monotonic_s)
        due = [item.due_s for _, _, item in self._at_work()]
        return max(0.0, min(due) - monotonic_s) if due else None

    def _at_work(self) -> list[tuple[DomainId, Source, Installation]]:
        return [
            (uuid, source, item)
            for uuid, sources in self._installed.items()
            if self._tenants[uuid].is_executing
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
        question = item.question(self._tenants[uuid])
        if question is None:
            self._decide(uuid, item, None, "", now, monotonic_s)
        elif item.asker is None:
            self._questions += 1
            item.asker = Asker(uuid, source, self._questions)
            item.asked_s = monotonic_s
            item.is_blind = False
            self._inquiry.ask(item.asker, question)
        else:
            self._wait(item, item.asker, now, monotonic_s)

    def _wait(
        self, item: Installation, asker: Asker, now: datetime, monotonic_s: float
    ) -> None:
        """Go on without an answer that has not come yet."""
        waited_s = monotonic_s - item.asked_s
        if waited_s >= ALONE_AFTER_S:
            self._inquiry.press(asker)
        if item.is_blind or waited_s >= ANSWER_WITHIN_S:
            item.is_blind = True
            problem = f"no answer for {waited_s:.0f} s"
            self._decide(asker.uuid, item, None, problem, now, monotonic_s)

    def _take_answers(self, now: datetime, monotonic_s: float) -> None:
        for asker, reading, problem in self._inquiry.take():
            item = self._installed.get(asker.uuid, {}).get(asker.source)
            if item is not None and item.asker == asker:
                item.asker = None
                self._decide(asker.uuid, item, reading, problem, now, monotonic_s)

    def _decide(
        self,
        uuid: DomainId,
        item: Installation,
        reading: Reading | None,
        problem: str,
        now: datetime,
        monotonic_s: float,
    ) -> None:
        item.problem = problem
        item.decide(self._tenants[uuid], reading, now, monotonic_s)
        self._settle(uuid)

    # Votes

    def _of(self, uuid: DomainId) -> Iterator[Installation]:
        yield from self._installed.get(uuid, {}).values()

    def _settle(self, uuid: DomainId) -> None:
        """Vote where what a vCPU should get is not what was voted."""
        votes = count_votes(self._installed.get(uuid, {}))
        voted = self._voted.get(uuid, {})
        if votes == voted:
            return
        self._voted[uuid] = votes
        for vcpu in sorted(votes.keys() | voted.keys()):
            if votes.get(vcpu) != voted.get(vcpu):
                self._emit(PolicyVote(uuid, vcpu, votes.get(vcpu)))

    def _keep_counters(self) -> None:
        counted: frozenset[int] = frozenset()
        for uuid, sources in self._installed.items():
            for item in sources.values():
                question = item.question(self._tenants[uuid])
                if question is not None and question.need is Need.BRANCHES:
                    counted |= question.pcpus
        if counted != self._counted:
            self._counted = counted
            self._sampling.keep(counted)


def next_due_s(monotonic_s: float, period_s: float) -> float:
    """Return when to decide again: at a multiple of the period, about one from now.

    At least half a period, so that no two readings are too near to say anything.
    """
    return (round(monotonic_s / period_s) + 1) * period_s
