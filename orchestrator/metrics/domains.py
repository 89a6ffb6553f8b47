# SPDX-License-Identifier: Apache-2.0
"""Metrics of domains, their vCPUs, channels and policies."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.metrics import families
from orchestrator.metrics.family import Samples
from orchestrator.values.domain import ChannelKind, DomainState, NovaInstance
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.metrics.family import Family
    from orchestrator.metrics.snapshot import Snapshot
    from orchestrator.monitor.client.views import ChannelTotals
    from orchestrator.policy.subject import PolicyStatus
    from orchestrator.values.domain import DomainId

    Rows = list[tuple[tuple[str, ...], float]]

_ANSWERS = ("ack", "nack", "dropped", "late", "unanswered")
_COUNTS = attrgetter(
    *("acks", "nacks", "dropped", "late", "unanswered", "errors", "throttled")
)
"""Of a channel's totals: answers, in the order of `_ANSWERS`, and two more."""
_CAUSES = tuple(refusal.word for refusal in Refusal)
_CONTROLLABLE = "controllable"
_UNKNOWN = "unknown"
_NO_INSTANCE = NovaInstance("", "")
_PER_DOMAIN = (
    families.DOMAIN_INFO,
    families.DOMAIN_REQUESTS,
    families.DOMAIN_REFUSALS,
    families.DOMAIN_MALFORMED,
    families.DOMAIN_THROTTLES,
    families.DOMAIN_CHANNELS,
    families.DOMAIN_VCPUS,
    families.DOMAIN_POLICIES,
    families.VCPU_GRANTED,
    families.VCPU_OBTAINED,
)


class DomainSource:
    """Reads the inventory, what the monitor has counted, and the policies.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        inventory: Inventory,
        policies: Callable[[], Iterable[PolicyStatus]],
    ) -> None:
        """Read nothing yet.

        Args:
            inventory: what main knows.
            policies: returns the policies in force.
        """
        self._inventory = inventory
        self._policies = policies

    def read(self, snapshot: Snapshot) -> list[Samples]:
        """Return the samples of the families about domains."""
        domains = self._inventory.domains.values()
        states = Counter(record.spec.state for record in domains)
        running = [record for record in domains if record.spec.state.is_active]
        reading = _Reading(snapshot, self._policies())
        for record in running:
            reading.add(record)
        return [
            Samples(
                families.DOMAINS,
                [((state.value,), states[state]) for state in DomainState],
            ),
            reading.channels(),
            *(Samples(family, rows) for family, rows in reading.rows.items()),
        ]


class _Reading:
    """The rows of all domains, for one scrape."""

    def __init__(self, snapshot: Snapshot, policies: Iterable[PolicyStatus]) -> None:
        self.rows: dict[Family, Rows] = {family: [] for family in _PER_DOMAIN}
        self._snapshot = snapshot
        self._channels: Counter[tuple[ChannelKind, int | None, ChannelState]]
        self._channels = Counter()
        self._policies: dict[DomainId, Counter[tuple[str, str]]] = {}
        for status in policies:
            kind = (status.order.policy.kind, status.source.kind.value)
            self._policies.setdefault(status.uuid, Counter())[kind] += 1

    def add(self, record: DomainRecord) -> None:
        spec, rows = record.spec, self.rows
        domain = (spec.name, spec.uuid)
        counted = self._snapshot.totals.channels.get(spec.uuid, {})
        mode = "enforce" if record.is_enforced() else "observe"
        nova = spec.nova or _NO_INSTANCE
        info = (spec.name, mode, *nova, spec.uuid, spec.uuid)
        rows[families.DOMAIN_INFO].append((info, 1))
        self._add_counts(domain, counted.values())
        self._add_channels(domain, record, counted)
        self._add_vcpus(domain, record)
        for kind, number in self._policies.get(spec.uuid, {}).items():
            labels = (spec.name, *kind, spec.uuid)
            rows[families.DOMAIN_POLICIES].append((labels, number))

    def _add_counts(
        self, domain: tuple[str, str], counted: Collection[ChannelTotals]
    ) -> None:
        rows = self.rows
        *answers, malformed, throttled = _add_up(
            map(_COUNTS, counted), len(_ANSWERS) + 2
        )
        rows[families.DOMAIN_REQUESTS] += [
            ((answer, *domain), number)
            for answer, number in zip(_ANSWERS, answers, strict=True)
        ]
        if any(any(it.refused) for it in counted):
            refused = _add_up((it.refused for it in counted), len(_CAUSES))
            rows[families.DOMAIN_REFUSALS] += [
                ((cause, *domain), number)
                for cause, number in zip(_CAUSES, refused, strict=True)
                if number
            ]
        rows[families.DOMAIN_MALFORMED].append((domain, malformed))
        rows[families.DOMAIN_THROTTLES].append((domain, throttled))

    def _add_channels(
        self,
        domain: tuple[str, str],
        record: DomainRecord,
        counted: Mapping[int, ChannelTotals],
    ) -> None:
        states: Counter[ChannelState] = Counter()
        for number, channel in record.channels.items():
            state, totals = channel.state, counted.get(number)
            states[state] += 1
            size = totals.generation if totals else None
            self._channels[channel.spec.kind, size, state] += 1
        name, uuid = domain
        self.rows[families.DOMAIN_CHANNELS] += [
            ((name, state.value, uuid), number) for state, number in states.items()
        ]

    def _add_vcpus(self, domain: tuple[str, str], record: DomainRecord) -> None:
        _, granted, obtained = self._snapshot
        states: Counter[Refusal | None] = Counter()
        for placement in record.placements.values():
            group = placement.group
            states[placement.refusal] += 1
            if group is None:
                continue
            labels = (*domain, str(placement.vcpu))
            if (hertz := granted.get(group)) is not None:
                self.rows[families.VCPU_GRANTED].append((labels, hertz))
            if (hertz := obtained.get(group)) is not None:
                self.rows[families.VCPU_OBTAINED].append((labels, hertz))
        name, uuid = domain
        self.rows[families.DOMAIN_VCPUS] += [
            ((name, refusal.word if refusal else _CONTROLLABLE, uuid), number)
            for refusal, number in states.items()
        ]

    def channels(self) -> Samples:
        """Return the channels of all domains; every state has a series."""
        numbers: Counter[tuple[str, str]] = Counter()
        for (kind, size, state), number in self._channels.items():
            numbers[_name_generation(kind, size), state.value] += number
        present = {state for _, state in numbers}
        for state in ChannelState:
            if state.value not in present:
                numbers[_UNKNOWN, state.value] = 0
        return Samples(families.CHANNELS, list(numbers.items()))


def _name_generation(kind: ChannelKind, size: int | None) -> str:
    if kind is ChannelKind.P_STATES:
        return str(kind)
    return _UNKNOWN if size is None else str(size)


def _add_up(rows: Iterable[tuple[int, ...]], width: int) -> list[int]:
    """Return the sums of columns; zeros without a row."""
    return [*map(sum, zip(*rows, strict=True))] or [0] * width
