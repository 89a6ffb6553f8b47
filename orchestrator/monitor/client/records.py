"""What main has told the monitor, kept to be told again, and the rows it lives in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.monitor.arbiter import NO_VOTE, Domain, Group, VCpu
from orchestrator.monitor.client.rows import Rows
from orchestrator.monitor.client.views import Counters, MonitorSnapshot, Readings
from orchestrator.monitor.link import messages
from orchestrator.monitor.link.table import (
    ACKS,
    CHANNEL_ROWS,
    CHANNEL_WORDS,
    DROPPED,
    ERRORS,
    GENERATION,
    GRANT,
    GROUP_ROWS,
    HEARD,
    LATE,
    NACKS,
    REASONS,
    REFUSALS,
    UNANSWERED,
    VCPU_ROWS,
    VCPU_WORDS,
    VOTE,
    VOTER,
    WAITING,
    SharedTable,
    channel_at,
    group_at,
    unpack_generation,
    unpack_voter,
    vcpu_at,
)
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from orchestrator.monitor.client.views import DomainView, GroupView, VCpuView
    from orchestrator.monitor.link.messages import Message
    from orchestrator.values.domain import DomainId


_REQUESTS = (ACKS, NACKS, DROPPED, LATE, WAITING, UNANSWERED)


class Records:
    """Groups and domains as defined last, and their rows of the shared table.

    Synchronization: main's thread.
    """

    def __init__(self, table: SharedTable) -> None:
        self._table = table
        self._groups: dict[int, GroupView] = {}
        self._domains: dict[DomainId, DomainView] = {}
        self._policy_votes: dict[tuple[DomainId, int], int] = {}
        """kHz by domain and vCPU. They are main's own words, so the table that saves
        guests' votes from a monitor's death need not carry them."""
        self._numbers: dict[DomainId, int] = {}
        self._uuids: dict[int, DomainId] = {}
        self._channel_rows: Rows[tuple[DomainId, int]] = Rows(CHANNEL_ROWS)
        self._vcpu_rows: Rows[tuple[DomainId, int]] = Rows(VCPU_ROWS)
        self._group_rows: Rows[int] = Rows(GROUP_ROWS)

    # Telling

    def tell_all(self) -> Iterator[Message]:
        """Say everything that a new monitor must know before it is handed anything."""
        for group in self._groups.values():
            yield self.define_group(group)
        for domain in self._domains.values():
            yield self.define_domain(domain)
        for (uuid, vcpu), khz in self._policy_votes.items():
            yield messages.SetPolicyVote(self._numbers[uuid], vcpu, khz)

    def define_group(self, view: GroupView) -> messages.DefineGroup:
        """Record a group."""
        self._groups[view.number] = view
        return messages.DefineGroup(
            group=view.number,
            row=self._group_rows.lend(view.number),
            steps_khz=tuple(view.steps.khz),
            has_turbo=view.steps.has_turbo,
            min_khz=view.limits.min_khz,
            max_khz=view.limits.max_khz,
            has_host_cpus=view.has_host_cpus,
            override_khz=view.override_khz,
        )

    def define_domain(self, view: DomainView) -> messages.DefineDomain:
        """Record a domain; rows of vCPUs that are not in it any more are free."""
        uuid = view.uuid
        for vcpu in self.find_moved(view):
            self._policy_votes.pop((uuid, vcpu), None)
        self._domains[uuid] = view
        number = self._numbers.setdefault(uuid, len(self._uuids))
        self._uuids[number] = uuid
        present = {vcpu.vcpu for vcpu in view.vcpus}
        self._vcpu_rows.give_back(lambda key: key[0] == uuid and key[1] not in present)
        return messages.DefineDomain(
            domain=number,
            is_executing=view.is_executing,
            is_enforced=view.is_enforced,
            may_query=view.may_query,
            may_send_policies=view.may_send_policies,
            generation=view.generation,
            vcpus=tuple(self._row_of(uuid, vcpu) for vcpu in view.vcpus),
        )

    def _row_of(self, uuid: DomainId, vcpu: VCpuView) -> messages.VCpuRow:
        return messages.VCpuRow(
            vcpu=vcpu.vcpu,
            row=self._vcpu_rows.lend((uuid, vcpu.vcpu)),
            group=vcpu.group,
            min_khz=vcpu.limits.min_khz,
            max_khz=vcpu.limits.max_khz,
            is_turbo_allowed=vcpu.is_turbo_allowed,
        )

    def forget_domain(self, uuid: DomainId) -> messages.ForgetDomain | None:
        """Forget a domain; None: it was not known."""
        if self._domains.pop(uuid, None) is None:
            return None
        for key in [key for key in self._policy_votes if key[0] == uuid]:
            del self._policy_votes[key]
        self._vcpu_rows.give_back(lambda key: key[0] == uuid)
        rows = self._channel_rows.give_back(lambda key: key[0] == uuid)
        return messages.ForgetDomain(self._numbers[uuid], tuple(rows))

    def set_policy_vote(
        self, uuid: DomainId, vcpu: int, khz: int | None
    ) -> messages.SetPolicyVote | None:
        """Record a policy's vote; None: there is no such vCPU, or it floats."""
        view = self._domains.get(uuid)
        if view is None or _group_of(view, vcpu) is None:
            return None
        if khz is None:
            self._policy_votes.pop((uuid, vcpu), None)
        else:
            self._policy_votes[uuid, vcpu] = khz
        return messages.SetPolicyVote(self._numbers[uuid], vcpu, khz or 0)

    def number_of(self, uuid: DomainId) -> int | None:
        """Return a known domain's number in messages."""
        return self._numbers[uuid] if uuid in self._domains else None

    def uuid_of(self, number: int) -> DomainId | None:
        """Return the domain that a message means."""
        return self._uuids.get(number)

    def channel_row(self, uuid: DomainId, number: int) -> int:
        """Return the row that counts what passes over a channel."""
        return self._channel_rows.lend((uuid, number))

    def heard_ns(self, uuid: DomainId, number: int) -> int:
        """Return when a channel's guest last sent anything; 0: it never did."""
        row = self._channel_rows.find((uuid, number))
        return 0 if row is None else self._table.words[channel_at(row) + HEARD]

    # The table while no monitor lives

    def clear_free_rows(self) -> None:
        """Zero what no monitor lived to zero."""
        table = self._table
        table.clear(map(vcpu_at, self._vcpu_rows.returned()), VCPU_WORDS)
        rows = map(channel_at, self._channel_rows.returned())
        table.clear(rows, CHANNEL_WORDS)

    def withdraw(self, uuid: DomainId, number: int | None) -> None:
        """End votes in the monitor's stead: of one channel, or (None) of all."""
        for (owner, _), row in self._vcpu_rows.items():
            voter = unpack_voter(self._table.words[vcpu_at(row) + VOTER])
            if owner == uuid and number in (None, voter.number):
                self._table.clear([vcpu_at(row)], VCPU_WORDS)

    def withdraw_vcpus(self, uuid: DomainId, vcpus: Collection[int]) -> None:
        """End votes in the monitor's stead: of some vCPUs of a domain."""
        for (owner, number), row in self._vcpu_rows.items():
            if owner == uuid and number in vcpus:
                self._table.clear([vcpu_at(row)], VCPU_WORDS)

    def find_moved(self, view: DomainView) -> set[int]:
        """Return the vCPUs whose group is another than before, or that are gone."""
        known = self._domains.get(view.uuid)
        before = {} if known is None else {v.vcpu: v.group for v in known.vcpus}
        now = {v.vcpu: v.group for v in view.vcpus}
        vcpus = before.keys() | now.keys()
        return {v for v in vcpus if before.get(v) != now.get(v)}

    # Reading

    def snapshot(self) -> MonitorSnapshot:
        """Read what the monitor has written, or how to read it."""
        words = self._table.words
        grants = {n: words[group_at(r) + GRANT] for n, r in self._group_rows.items()}
        vcpus = {(d.uuid, v.vcpu): v for d in self._domains.values() for v in d.vcpus}
        rows = dict(self._channel_rows.items())
        return MonitorSnapshot(
            channels=Readings(rows, lambda _, row: self._read_counters(row)),
            wishes=Readings(vcpus, self._read_wish),
            grants={number: khz or None for number, khz in grants.items()},
            refusals={
                number: words[group_at(row) + REFUSALS]
                for number, row in self._group_rows.items()
            },
        )

    def _read_counters(self, row: int) -> Counters:
        words, at = self._table.words, channel_at(row)
        generation, is_given = unpack_generation(words[at + GENERATION])
        refused = {refusal.word: words[at + REASONS + refusal] for refusal in Refusal}
        return Counters(
            requests=sum(words[at + kind] for kind in _REQUESTS),
            acks=words[at + ACKS],
            nacks=words[at + NACKS],
            dropped=words[at + DROPPED],
            late=words[at + LATE],
            errors=words[at + ERRORS],
            unanswered=words[at + UNANSWERED],
            generation=generation,
            is_generation_given=is_given,
            nack_reasons={word: count for word, count in refused.items() if count},
        )

    def _read_wish(self, key: tuple[DomainId, int], view: VCpuView) -> int | None:
        owner, row = self._domains.get(key[0]), self._vcpu_rows.find(key)
        group = None if view.group is None else self._groups.get(view.group)
        if owner is None or row is None or group is None:
            return None
        at = vcpu_at(row)
        vote_khz = self._table.words[at + VOTE]
        policy_khz = self._policy_votes.get(key, NO_VOTE)
        if not (vote_khz or policy_khz):
            return None
        domain = Domain()
        domain.is_enforced = owner.is_enforced
        vcpu = VCpu(domain, view.vcpu)
        vcpu.limits = view.limits
        vcpu.is_turbo_allowed = view.is_turbo_allowed
        vcpu.place(Group(group.number, group.steps))
        vcpu.vote_khz = vote_khz
        vcpu.vote_by_policy(policy_khz)
        voter = unpack_voter(self._table.words[at + VOTER])
        vcpu.has_turbo_right, vcpu.is_greeting = voter[1:]
        vcpu.rebound()
        return vcpu.wish_khz()


def _group_of(view: DomainView, vcpu: int) -> int | None:
    return next((v.group for v in view.vcpus if v.vcpu == vcpu), None)
