# SPDX-License-Identifier: Apache-2.0
"""Executes the commands that scripts send to DPDK's vm_power_manager.

A frequency that they set is an operator's override: it takes precedence over all guests
until `vmpower cpu release` or the next boot. A policy that they create is an
operator's policy of the domains that have a vCPU on its CPUs at that time, and ends
with them.

Synchronization: the asyncio thread only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.channel.protocol import Unit as PacketUnit
from orchestrator.controller.actions import Report, Severity
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.errors import ConfigError
from orchestrator.monitor.arbiter import NO_VOTE, Domain, Group, VCpu
from orchestrator.operations.dpdk.json_messages import (
    Command,
    Instruction,
    MessageSplitter,
    Unit,
    parse_instruction,
)
from orchestrator.policy.compile import order_of
from orchestrator.policy.errors import PolicyError
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.values.cpuset import name_cpus
from orchestrator.values.domain_settings import Mode
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, GroupRecord
    from orchestrator.events import Event
    from orchestrator.performer.policy_runner import PolicyRunner
    from orchestrator.reporting.event_log import EventLog
    from orchestrator.values.domain import DomainId, PCpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one message."""

    text: str
    """What was done, or why it was refused."""
    is_done: bool
    hint: str = ""
    """How to fix it; empty if not known."""


class VmPowerManagerCommands:
    """Executes messages.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        *,
        inventory: Inventory,
        policy_runner: PolicyRunner,
        event_log: EventLog,
        react: Callable[[Event], None],
    ) -> None:
        self._inventory = inventory
        self._policy_runner = policy_runner
        self._event_log = event_log
        self._react = react
        self._steppers: dict[int, VCpu] = {}
        """By clock group: applies units to its override, with the turbo right that they
        set."""

    def execute_all(self, text: str, *, by: str, cpu: int | None) -> list[Outcome]:
        """Execute any number of messages in a text."""
        splitter = MessageSplitter()
        outcomes = [
            self.execute(message, by=by, cpu=cpu)
            for message in splitter.feed(text.encode())
        ]
        if splitter.is_waiting:
            incomplete = ConfigError("the last message is incomplete")
            outcomes.append(self.execute(incomplete, by=by, cpu=cpu))
        return outcomes

    def execute(
        self, message: str | ConfigError, *, by: str, cpu: int | None = None
    ) -> Outcome:
        """Execute a message, and report the outcome.

        Args:
            message: its text, or why it is invalid.
            by: who sent it.
            cpu: the CPU whose FIFO it came from; None: the message names CPUs.
        """
        try:
            if isinstance(message, ConfigError):
                raise message
            instruction = parse_instruction(message, cpu=cpu)
            text = self._run(instruction, by)
        except (ConfigError, PolicyError) as error:
            outcome = Outcome(text=f"refused: {error}", is_done=False, hint=error.hint)
            return self._report(outcome, by)
        if instruction.ignored:
            text += f" (unknown keys: {', '.join(instruction.ignored)})"
        return self._report(Outcome(text=text, is_done=True), by)

    def _report(self, outcome: Outcome, by: str) -> Outcome:
        severity = Severity.INFO if outcome.is_done else Severity.WARNING
        hint = f" ({outcome.hint})" if outcome.hint else ""
        text = f"{by}: {outcome.text}{hint}"
        self._event_log.add(Report("instruction", text, severity=severity))
        return outcome

    def _run(self, instruction: Instruction, by: str) -> str:
        match instruction.command:
            case Command.POWER if instruction.unit is not None:
                return self._set_frequencies(instruction.cpus, instruction.unit, by)
            case Command.DESTROY:
                return self._destroy(instruction.name, by)
            case _:
                return self._create(instruction, by)

    # Frequencies

    def _set_frequencies(self, cpus: frozenset[int], unit: Unit, by: str) -> str:
        if self._inventory.config.mode is Mode.OBSERVE:
            raise ConfigError("the daemon is in observe mode")
        # All CPUs are checked before the first one is changed.
        groups = sorted({self._group_of(cpu).group.number for cpu in cpus})
        targets = {number: self._next_khz(number, unit) for number in groups}
        for number, khz in targets.items():
            self._react(events.OverrideSet(number, khz, by))
        names = sorted({self._name_khz(*target) for target in targets.items()})
        return f"{unit.upper()}: {name_cpus(cpus)} set to {', '.join(names)}"

    def _name_khz(self, number: int, khz: int) -> str:
        """Format a frequency of a group; turbo, which is 3001 MHz, has a mark."""
        steps = self._inventory.groups[number].group.steps
        return format_khz(khz) + (" turbo" if khz > steps.nominal_khz else "")

    def _group_of(self, cpu: int) -> GroupRecord:
        topology = self._inventory.topology
        for group in topology.groups:
            if cpu in group.pcpus:
                record = self._inventory.groups[group.number]
                if record.stage is GroupStage.FAILED:
                    raise ConfigError(f"CPU {cpu} cannot be set: {record.reason}")
                return record
        reasons = {int(pcpu): reason for pcpu, reason in topology.unmanaged.items()}
        if cpu not in reasons:
            raise ConfigError(f"no such CPU: {cpu}")
        raise ConfigError(f"CPU {cpu} cannot be set: {reasons[cpu]}")

    def _next_khz(self, number: int, unit: Unit) -> int:
        """Return the frequency that results from a unit and the current override."""
        record = self._inventory.groups[number]
        stepper = self._steppers.get(number)
        if stepper is None or record.override_khz is None:
            stepper = self._steppers[number] = _stepper_for(self._inventory, record)
        stepper.vote_khz = record.override_khz or NO_VOTE
        khz = stepper.apply_request(int(PacketUnit[unit.name]))
        if khz is None:
            cpu = min(record.group.pcpus)
            raise ConfigError(f"{unit.upper()}: turbo is not available on CPU {cpu}")
        return self._inventory.group_window(number).fit(khz)

    # Policies

    def _create(self, instruction: Instruction, by: str) -> str:
        if instruction.rule is None:
            raise ConfigError("the message has no policy")
        source = Source(SourceKind.OPERATOR, instruction.name)
        cpus = name_cpus(instruction.cpus)
        names, problems = [], []
        for record, vcpus in self._pinned_to(instruction.cpus):
            uuid, rule = record.spec.uuid, instruction.rule
            try:
                is_news = self._policy_runner.install(
                    uuid, source, order_of(rule, vcpus)
                )
            except PolicyError as error:
                problems.append(f"{record.spec.name}: {error}")
                continue
            names.append(record.spec.name)
            self._react(
                events.PolicyInstalled(uuid, source, rule.kind, is_news=is_news, by=by)
            )
        kind = instruction.rule.kind
        done = f"CREATE: {kind} for {', '.join(sorted(names))} on {cpus}"
        if problems:
            but = f" ({done})" if names else ""
            raise PolicyError("; ".join(sorted(problems)) + but)
        if not names:
            raise PolicyError(f"no running domain has a vCPU pinned to {cpus}")
        return done

    def _pinned_to(
        self, cpus: frozenset[int]
    ) -> Iterator[tuple[DomainRecord, frozenset[int]]]:
        for record in self._inventory.domains.values():
            vcpus = frozenset(
                int(placement.vcpu)
                for placement in record.placements.values()
                if placement.reason is None and placement.pcpus & _pcpus(cpus)
            )
            if vcpus and record.spec.state.is_active:
                yield record, vcpus

    def _destroy(self, name: str, by: str) -> str:
        source = Source(SourceKind.OPERATOR, name)
        ended: list[DomainId] = [
            uuid
            for uuid in self._inventory.domains
            if self._policy_runner.remove(uuid, source)
        ]
        for uuid in ended:
            self._react(events.PolicyEnded(uuid, source, f"removed by {by}"))
        if not ended:
            raise PolicyError(f"no domain has a policy '{name}'")
        return f"DESTROY: {name}"


def _pcpus(cpus: frozenset[int]) -> frozenset[PCpu]:
    return frozenset(cpus)  # type: ignore[arg-type]


def _stepper_for(inventory: Inventory, record: GroupRecord) -> VCpu:
    """Return a vCPU that steps a group like a guest, within the host's limits."""
    group = record.group
    stepper = VCpu(Domain(), 0)
    stepper.domain.is_enforced = True
    stepper.limits = inventory.group_limits(group.number)
    is_boost_off = record.kernel.is_boost_off
    stepper.is_turbo_allowed = inventory.config.bounds.turbo and not is_boost_off
    stepper.place(Group(group.number, group.steps))
    return stepper
