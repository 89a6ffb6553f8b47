# SPDX-License-Identifier: Apache-2.0
"""Definitions sent to the monitor, kept for the next one, and their table rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import GENERATIONS
from orchestrator.energy.grants import GrantTimes
from orchestrator.monitor.arbiter import NO_VOTE, UNKNOWN_KHZ, Domain, Group, VCpu
from orchestrator.monitor.client.row_allocator import DomainRows, RowAllocator
from orchestrator.monitor.client.valid_rows import (
    copy_channel,
    copy_group,
    copy_latencies,
    copy_vcpu,
    valid_count,
)
from orchestrator.monitor.client.views import (
    ChannelTotals,
    Counters,
    Grant,
    GuestVote,
    LazyMapping,
    MonitorSnapshot,
    Totals,
)
from orchestrator.monitor.link.commands import (
    CloseChannel,
    DefineDomain,
    DefineGroup,
    ForgetDomain,
    SetPolicyVote,
    SwitchChannel,
    WithdrawVotes,
)
from orchestrator.monitor.link.table import (
    ACKS,
    BEGAN_NS,
    CHANNEL_ROWS,
    DOMAIN_ROWS,
    DOMAIN_WORDS,
    DROPPED,
    ERRORS,
    GENERATION,
    GRANT,
    GRANTED_NS,
    GRANTED_STEPS,
    GROUP_ROWS,
    LAST_RECEIVED,
    LATE,
    LATENCY_AT,
    LATENCY_SUM_AT,
    NACKS,
    OBSERVED,
    OBSERVED_P_STATE,
    P_STATE_VOTE,
    REASONS,
    REFUSALS,
    REFUSED_AT,
    THROTTLED,
    UNANSWERED,
    VCPU_ROWS,
    VCPU_WORDS,
    VOTE,
    VOTE_WORDS,
    VOTER,
    WAITING,
    WRITES,
    SharedTable,
    channel_at,
    domain_at,
    group_at,
    pack_voter,
    unpack_generation,
    unpack_voter,
    vcpu_at,
    write_figures,
)
from orchestrator.values.domain import DomainId
from orchestrator.values.refusal import Refusal
from orchestrator.values.units import MAX_KHZ

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from orchestrator.channel.protocol import EnergyFigures
    from orchestrator.monitor.link.commands import Command, VCpuDefinition


_COUNTED_WORDS = REASONS + len(Refusal) + 1
"""How much of a channel's row, from its beginning, has counters."""
_REFUSALS = tuple(Refusal)
_READINGS = 4
"""A reading takes less time than the monitor from one write to the next."""
_REQUESTS = (ACKS, NACKS, DROPPED, LATE, WAITING, UNANSWERED)


class Records:
    """The recorded definitions, the rows of the shared table, and the table.

    Synchronization: main's thread.
    """

    def __init__(self, table: SharedTable) -> None:
        self._table = table
        self._groups: dict[int, DefineGroup] = {}
        self._domains: dict[DomainId, DefineDomain] = {}
        self._policy_votes: dict[tuple[DomainId, int], int] = {}
        """kHz by domain and vCPU. Main keeps these itself, so unlike guests' votes they
        need not survive in the table."""
        self._disabled: set[tuple[DomainId, int]] = set()
        self._channel_rows = DomainRows(CHANNEL_ROWS)
        self._vcpu_rows = DomainRows(VCPU_ROWS)
        self._domain_rows: RowAllocator[DomainId] = RowAllocator(DOMAIN_ROWS)
        self._group_rows: RowAllocator[int] = RowAllocator(GROUP_ROWS)

    # Commands

    def definitions(self) -> Iterator[Command]:
        """Yield all definitions, for a new monitor before any hand-over."""
        yield from self._groups.values()
        yield from self._domains.values()
        for (uuid, vcpu), khz in self._policy_votes.items():
            yield SetPolicyVote(uuid, vcpu, khz)

    def record(self, command: Command) -> Command | None:
        """Record what a command changes, and complete it.

        Returns:
            The command with its rows of the table; None: it is about something unknown
            and must not be sent.
        """
        match command:
            case DefineGroup():
                row = self._group_rows.allocate(command.group)
                self._groups[command.group] = complete = command._replace(row=row)
                return complete
            case DefineDomain():
                return self._define_domain(command)
            case ForgetDomain():
                return self._forget_domain(DomainId(command.uuid))
            case SetPolicyVote():
                return self._set_policy_vote(command)
            case SwitchChannel(uuid, number, is_enabled):
                change = self._disabled.discard if is_enabled else self._disabled.add
                change((DomainId(uuid), number))
            case _:
                pass
        owner = getattr(command, "uuid", None)
        return command if owner is None or owner in self._domains else None

    def find_fallback(self, command: Command) -> Callable[[], None] | None:
        """Return what ends a command's votes without the monitor; None: it ends none.

        For a monitor that has died; to be called before `record`.
        """
        match command:
            case DefineDomain():
                moved = self._find_moved(command)
                end = partial(self._withdraw_vcpus, command.uuid, moved)
                return end if moved else None
            case CloseChannel(uuid, number) | SwitchChannel(uuid, number, False):
                return partial(self._withdraw, uuid, number)
            case WithdrawVotes(uuid, number):
                return partial(self._withdraw, uuid, number)
            case _:
                return None

    def _define_domain(self, command: DefineDomain) -> DefineDomain:
        uuid = DomainId(command.uuid)
        for vcpu in self._find_moved(command):
            self._policy_votes.pop((uuid, vcpu), None)
        present = {vcpu.vcpu for vcpu in command.vcpus}
        self._vcpu_rows.free(uuid, kept=present)
        rows = tuple(self._vcpu_rows.allocate(uuid, v.vcpu) for v in command.vcpus)
        row = self._domain_rows.allocate(uuid)
        self._domains[uuid] = complete = command._replace(rows=rows, row=row)
        return complete

    def _forget_domain(self, uuid: DomainId) -> ForgetDomain | None:
        known = self._domains.pop(uuid, None)
        if known is None:
            return None
        for vcpu in known.vcpus:
            self._policy_votes.pop((uuid, vcpu.vcpu), None)
        self._vcpu_rows.free(uuid)
        row = self._domain_rows.free(uuid)
        self._table.clear([domain_at(row)], DOMAIN_WORDS)
        rows = self._channel_rows.free(uuid)
        return ForgetDomain(uuid, tuple(rows))

    def _set_policy_vote(self, command: SetPolicyVote) -> SetPolicyVote | None:
        key = (DomainId(command.uuid), command.vcpu)
        defined = self._domains.get(key[0])
        if defined is None or _group_of(defined, command.vcpu) is None:
            return None
        if command.khz == NO_VOTE:
            self._policy_votes.pop(key, None)
        else:
            self._policy_votes[key] = command.khz
        return command

    def is_defined(self, uuid: DomainId) -> bool:
        """Return whether a domain is defined."""
        return uuid in self._domains

    def is_group(self, number: int) -> bool:
        """Return whether a clock group has been defined."""
        return number in self._groups

    def is_enabled(self, uuid: DomainId, number: int) -> bool:
        """Return whether a channel's requests are accepted."""
        return (uuid, number) not in self._disabled

    def channel_row(self, uuid: DomainId, number: int) -> int:
        """Return the row of a channel's counters."""
        return self._channel_rows.allocate(uuid, number)

    def channels_of(self, uuid: DomainId) -> list[int]:
        """Return the numbers of a domain's channels that have a row."""
        return [number for number, _ in self._channel_rows.of(uuid)]

    def last_received_ns(self, uuid: DomainId, number: int) -> int:
        """Return when a channel's guest last sent anything; 0: never."""
        row = self._channel_rows.find(uuid, number)
        return 0 if row is None else self._table.words[channel_at(row) + LAST_RECEIVED]

    def grant_of(self, group: int) -> Grant:
        """Return what was last set for a clock group."""
        row = self._group_rows.find(group)
        if row is None:
            return Grant(None, 0)
        words, at = self._table.words, group_at(row)
        return Grant(words[at + GRANT] or None, words[at + WRITES])

    def grant_times(self, group: int) -> GrantTimes | None:
        """Return for how long each step was granted; None: there is no such group.

        It is read again if the monitor wrote meanwhile, but not for ever.
        """
        row = self._group_rows.find(group)
        if row is None:
            return None
        steps_khz = self._groups[group].steps.khz[:GRANTED_STEPS]
        words, at = self._table.words, group_at(row)
        first, found = at + GRANTED_NS, None
        for _ in range(_READINGS):
            writes = words[at + WRITES]
            none_ns, *steps_ns = words[first : first + 1 + len(steps_khz)].tolist()
            began_ns = words[at + BEGAN_NS]
            found = GrantTimes(began_ns, steps_khz, none_ns, tuple(steps_ns))
            if writes == words[at + WRITES]:
                break
        return found

    def write_energy(self, uuid: DomainId, figures: EnergyFigures, now_ns: int) -> None:
        """Write what a domain draws, for its guest; ignored if it is not defined."""
        row = self._domain_rows.find(uuid)
        if row is not None:
            write_figures(self._table.words, domain_at(row), figures, now_ns)

    # The table while no monitor runs

    def move_to(self, table: SharedTable, now_ns: int) -> None:
        """Use another table, with the rows of the present one as far as they are valid.

        Rows that are not in use are not copied: a dead monitor cannot clear them.

        Args:
            table: an empty one.
            now_ns: the time (monotonic).
        """
        old, new = self._table.words, table.words
        for row in self._channel_rows.rows():
            copy_channel(old, new, channel_at(row), now_ns)
        for row in self._vcpu_rows.rows():
            copy_vcpu(old, new, vcpu_at(row))
        for number, row in self._group_rows.items():
            copy_group(old, new, group_at(row), self._groups[number].steps.khz)
        copy_latencies(old, new)
        self._table = table

    def resume_votes(self, uuid: DomainId, votes: Iterable[GuestVote]) -> None:
        """Set votes of an earlier run of the daemon; the domain is defined next.

        Raises:
            ValueError: the domain is defined already: the monitor writes its rows.
        """
        if uuid in self._domains:
            raise ValueError(f"domain {uuid} is defined already")
        for vote in votes:
            at = vcpu_at(self._vcpu_rows.allocate(uuid, vote.vcpu))
            self._table.words[at + VOTE] = vote.khz
            self._table.words[at + VOTER] = pack_voter(vote.voter)

    def _withdraw(self, uuid: str, number: int | None) -> None:
        """End votes without the monitor: of one channel, or (None) of all."""
        for _, row in self._vcpu_rows.of(DomainId(uuid)):
            for vote in (VOTE, P_STATE_VOTE):
                at = vcpu_at(row) + vote
                voter = unpack_voter(self._table.words[at + VOTER])
                if number in (None, voter.number):
                    self._table.clear([at], VOTE_WORDS)

    def _withdraw_vcpus(self, uuid: str, vcpus: Collection[int]) -> None:
        """End votes without the monitor: of some vCPUs of a domain."""
        for number, row in self._vcpu_rows.of(DomainId(uuid)):
            if number in vcpus:
                self._table.clear([vcpu_at(row)], VCPU_WORDS)

    def _find_moved(self, command: DefineDomain) -> set[int]:
        """Return the vCPUs that are in a different group than before, or gone."""
        known = self._domains.get(DomainId(command.uuid))
        before = {} if known is None else {v.vcpu: v.group for v in known.vcpus}
        now = {v.vcpu: v.group for v in command.vcpus}
        vcpus = before.keys() | now.keys()
        return {v for v in vcpus if before.get(v) != now.get(v)}

    # Reading

    def snapshot(self) -> MonitorSnapshot:
        """Read what the monitor has written; channels and requests lazily."""
        words = self._table.words
        grants = {n: words[group_at(r) + GRANT] for n, r in self._group_rows.items()}
        vcpus = {(u, v.vcpu): v for u, d in self._domains.items() for v in d.vcpus}
        rows = dict(self._channel_rows.items())
        return MonitorSnapshot(
            channels=LazyMapping(rows, lambda _, row: self._read_counters(row)),
            requested_khz=LazyMapping(vcpus, self._read_requested),
            votes_khz=LazyMapping(vcpus, self._read_vote),
            grants={number: khz or None for number, khz in grants.items()},
            refusals={
                number: words[group_at(row) + REFUSALS]
                for number, row in self._group_rows.items()
            },
        )

    def totals(self) -> Totals:
        """Copy what the monitor has counted: a microsecond for each channel."""
        words = self._table.words
        rows = [(n, group_at(row)) for n, row in self._group_rows.items()]
        channels: dict[DomainId, dict[int, ChannelTotals]] = {}
        for (uuid, number), row in self._channel_rows.items():
            at = channel_at(row)
            counted = words[at : at + _COUNTED_WORDS].tolist()
            channels.setdefault(uuid, {})[number] = _channel_totals(counted)
        latencies = words[LATENCY_AT:LATENCY_SUM_AT].tolist()
        return Totals(
            channels=channels,
            grants={number: words[at + GRANT] for number, at in rows},
            writes=sum(valid_count(words[at + WRITES]) for _, at in rows),
            refused_writes=sum(valid_count(words[at + REFUSALS]) for _, at in rows),
            latencies=tuple(map(valid_count, latencies)),
            latency_sum_ns=valid_count(words[LATENCY_SUM_AT]),
        )

    def votes(self) -> Iterator[tuple[DomainId, GuestVote]]:
        """Yield the votes of all guests."""
        for uuid, domain in self._domains.items():
            for row, vcpu in zip(domain.rows, domain.vcpus, strict=True):
                at = vcpu_at(row)
                khz = self._table.words[at + VOTE]
                voter = unpack_voter(self._table.words[at + VOTER])
                if khz and vcpu.group is not None:
                    yield (
                        uuid,
                        GuestVote(
                            vcpu=vcpu.vcpu, group=vcpu.group, khz=khz, voter=voter
                        ),
                    )

    def observed_votes(self) -> Iterator[tuple[tuple[DomainId, int], int]]:
        """Yield domain and vCPU, and kHz that the guest or a policy would vote for.

        Of domains that are only observed, and as far as their guests have sent requests
        on channels that are still open.
        """
        for uuid, domain in self._domains.items():
            if domain.is_enforced:
                continue
            for row, vcpu in zip(domain.rows, domain.vcpus, strict=True):
                key = (uuid, vcpu.vcpu)
                khz = self._read_observed(vcpu_at(row))
                khz = max(khz, self._policy_votes.get(key, NO_VOTE))
                if khz:
                    yield key, khz

    def _read_observed(self, at: int) -> int:
        """Return what the guest of an observed vCPU would vote for, in kHz."""
        words = self._table.words
        noted = words[at + OBSERVED], words[at + OBSERVED_P_STATE]
        return max(khz if khz <= MAX_KHZ else NO_VOTE for khz in noted)

    def _read_counters(self, row: int) -> Counters:
        at = channel_at(row)
        words = self._table.words[at : at + _COUNTED_WORDS].tolist()
        generation, is_configured = unpack_generation(words[GENERATION])
        counted = [valid_count(word) for word in words]
        reasons = [refusal for refusal in _REFUSALS if counted[REASONS + refusal]]
        return Counters(
            requests=sum(counted[field] for field in _REQUESTS),
            **_counts(counted),
            last_received_ns=words[LAST_RECEIVED],
            generation=generation,
            is_generation_configured=is_configured,
            nack_reasons={it.word: counted[REASONS + it] for it in reasons},
            nack_last_ns={
                it.word: self._table.words[at + REFUSED_AT + it] for it in reasons
            },
        )

    def _read_vote(
        self, key: tuple[DomainId, int], defined: VCpuDefinition
    ) -> int | None:
        owner, row = self._domains.get(key[0]), self._vcpu_rows.find(*key)
        if owner is None or row is None or defined.group is None:
            return None
        at = vcpu_at(row)
        voter = unpack_voter(self._table.words[at + VOTER])
        vote_khz = 0 if voter.is_connect_vote else self._table.words[at + VOTE]
        if not owner.is_enforced:
            vote_khz = self._read_observed(at)
        p_state_khz = self._table.words[at + P_STATE_VOTE]
        if p_state_khz == UNKNOWN_KHZ:
            return None
        policy_khz = self._policy_votes.get(key, NO_VOTE)
        return max(vote_khz, p_state_khz, policy_khz) or None

    def _read_requested(
        self, key: tuple[DomainId, int], defined: VCpuDefinition
    ) -> int | None:
        owner, row = self._domains.get(key[0]), self._vcpu_rows.find(*key)
        group = None if defined.group is None else self._groups.get(defined.group)
        if owner is None or row is None or group is None:
            return None
        at = vcpu_at(row)
        vote_khz = self._table.words[at + VOTE]
        p_state_khz = self._table.words[at + P_STATE_VOTE]
        policy_khz = self._policy_votes.get(key, NO_VOTE)
        if not (vote_khz or policy_khz or p_state_khz):
            return None
        domain = Domain()
        domain.is_enforced = owner.is_enforced
        vcpu = VCpu(domain, defined.vcpu)
        vcpu.limits = defined.limits
        vcpu.is_turbo_allowed = defined.is_turbo_allowed
        vcpu.place(Group(group.group, group.steps))
        vcpu.vote_khz = vote_khz
        vcpu.set_policy_vote(policy_khz)
        if p_state_khz:
            vcpu.set_p_state_vote(p_state_khz, 0)  # the number does not matter
        voter = unpack_voter(self._table.words[at + VOTER])
        vcpu.has_turbo_right, vcpu.is_connect_vote = voter[1:]
        vcpu.update_window()
        return vcpu.requested_khz()


def _counts(counted: list[int]) -> dict[str, int]:
    """Return the counters that `Counters` and `ChannelTotals` have in common."""
    return {
        "acks": counted[ACKS],
        "nacks": counted[NACKS],
        "dropped": counted[DROPPED],
        "late": counted[LATE],
        "errors": counted[ERRORS],
        "unanswered": counted[UNANSWERED],
        "throttled": counted[THROTTLED],
    }


def _channel_totals(counted: list[int]) -> ChannelTotals:
    size, _ = unpack_generation(counted[GENERATION])
    counted = [valid_count(word) for word in counted]
    return ChannelTotals(
        **_counts(counted),
        refused=tuple(counted[REASONS + 1 :]),
        generation=size if size in GENERATIONS else None,
    )


def _group_of(defined: DefineDomain, vcpu: int) -> int | None:
    return next((v.group for v in defined.vcpus if v.vcpu == vcpu), None)
