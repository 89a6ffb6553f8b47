# SPDX-License-Identifier: Apache-2.0
"""Onboarding: attaches the channels that rules ask for, detaches those no longer so.

Theory of operation: the configuration's rules decide which channels a domain should
have; its description lists those that it has, in the running domain and in its
definition. The difference (`onboarding.plan`) is what remains to be done, so any order
of events, even of lost events, leads to the same result.

Channels that a rule attached are noted in the domain's own metadata. Exactly these are
detached again, even by a daemon that was started later; all others are left alone.

A running domain without free ports gets another controller first, if libvirt can plug
one in; otherwise, what does not fit waits for the next start.

An attempt can fail, or another program can undo it again and again. So the number of
attempts is limited, and the pause between them, counted in resyncs, doubles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.controller.actions import (
    AddPorts,
    AttachChannels,
    DescribeDomain,
    DetachChannels,
    Report,
    Severity,
)
from orchestrator.controller.records import OnboardingRecord
from orchestrator.events import ChannelsAttached
from orchestrator.onboarding.plan import ChannelPlan, plan_by_rule
from orchestrator.onboarding.rule import NONE
from orchestrator.rights import DEFAULT, resolve_rights
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.config import Config
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.onboarding.rule import OnboardRule
    from orchestrator.values.domain import DomainChannels, DomainSpec

IMMEDIATE_ATTEMPTS = 3
"""Attempts that may succeed without a pause between them: a tool that redefines a
domain does so once or twice."""
MAX_ATTEMPTS = 8
"""After these a new run of the domain, other rules or a new connection is needed; with
a resync every 30 s they take an hour."""
IDLE_RESYNCS = 2
"""After more than this many resyncs with nothing to do, earlier attempts are forgotten.
One would be too few: the first resync may follow an attempt immediately."""


def find_rule(config: Config, spec: DomainSpec) -> OnboardRule | None:
    """Return the rule that decides about a domain: the first that matches it."""
    if not config.onboard:
        return None
    setting = resolve_rights(config, spec).onboard.value
    matching = (rule for rule in config.onboard if rule.matches(spec, setting=setting))
    return next(matching, None)


class Explanation(NamedTuple):
    """Which channels a domain should have, and why."""

    value: str
    """As in a rule."""
    source: str
    """The rule, or the setting that prevents rules."""
    reason: str | None = None
    """Why the first rule for a domain of this name does not apply; None: one applies,
    or there is none."""


def explain(config: Config, spec: DomainSpec) -> Explanation:
    """Return which channels a domain should have, and the source of that decision."""
    rule = find_rule(config, spec)
    if rule is not None:
        return Explanation(rule.channels, _name(rule))
    setting = resolve_rights(config, spec).onboard
    # Without any rule, the domain's own refusal is not the reason.
    is_refusal = setting.value is False and bool(config.onboard)
    passed_over = next((rule for rule in config.onboard if rule.is_for(spec)), None)
    reason = None
    if passed_over is not None:
        obstacle = passed_over.find_obstacle(spec, setting=setting.value)
        reason = f"{_name(passed_over)} does not apply: {obstacle}"
    return Explanation(NONE, setting.source if is_refusal else DEFAULT, reason)


def _name(rule: OnboardRule) -> str:
    return f"onboard rule {rule.match or '*'}"


def review(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Decide whether channels of a domain are to be attached or detached now."""
    spec = record.spec
    if record.onboarding.run != spec.run:
        is_under_way = record.onboarding.is_under_way
        record.onboarding = OnboardingRecord(run=spec.run, is_under_way=is_under_way)
    if record.onboarding.is_under_way:
        return []
    rule = find_rule(inventory.config, spec)
    live = _plan(rule, spec.live if spec.state.is_executing else None, is_live=True)
    definition = _plan(rule, spec.definition, is_live=False)
    may_get_ports = not record.onboarding.port_obstacle
    reports = _report_waiting(record, () if may_get_ports else live.waiting)
    if record.onboarding.has_failed and not definition.is_empty:
        live = ChannelPlan()  # so that the definition gets its channels all the same
    if live.detach or definition.detach:
        action: Action = DetachChannels(spec.uuid, live.detach, definition.detach)
    elif live.waiting and may_get_ports:
        action = AddPorts(spec.uuid, live.attach + live.waiting)
    elif live.attach or definition.attach:
        action = AttachChannels(spec.uuid, live.attach, definition.attach)
    else:
        record.onboarding.failure = ""
        return reports
    return reports + _attempt(inventory, record, action)


def _plan(
    rule: OnboardRule | None, channels: DomainChannels | None, *, is_live: bool
) -> ChannelPlan:
    if channels is None:
        return ChannelPlan()
    return plan_by_rule(channels, rule, is_live=is_live)


def _report_waiting(record: DomainRecord, waiting: tuple[int, ...]) -> list[Action]:
    """Report channels without a free port when they change, not at each review."""
    before = record.onboarding.waiting
    record.onboarding.waiting = ""
    if not waiting:
        return []
    fix = "power it off and start it again"
    if record.spec.definition is None:
        fix = "it is transient, create it again with these channels"
    record.onboarding.waiting = (
        f"onboarding: no free port for {name_all('channel', waiting)} in the running"
        " domain, which cannot take another virtio-serial controller"
        f" ({record.onboarding.port_obstacle}): {fix}"
    )
    if record.onboarding.waiting == before:
        return []
    return [_report(record, record.onboarding.waiting, Severity.WARNING)]


def _attempt(
    inventory: Inventory, record: DomainRecord, action: Action
) -> list[Action]:
    """Return the action, unless it has to wait or too much was attempted."""
    state = record.onboarding
    state.idle_resyncs = 0
    if state.pause or state.attempts >= MAX_ATTEMPTS:
        if state.failure:
            return []
        return _fail(inventory, record, "another program keeps changing its channels")
    state.attempts += 1
    state.is_under_way = True
    return [action]


def _fail(inventory: Inventory, record: DomainRecord, reason: str) -> list[Action]:
    state = record.onboarding
    outlook = f"retrying in {state.pause * inventory.config.libvirt.resync_s:.0f} s"
    if state.attempts >= MAX_ATTEMPTS:
        outlook = "giving up until it is restarted or the configuration is reloaded"
    state.failure = f"onboarding: {reason}; {outlook}"
    return [_report(record, state.failure, Severity.WARNING)]


def on_done(
    inventory: Inventory, event: events.ChannelsAttached | events.ChannelsDetached
) -> list[Action]:
    """Report attached or detached channels, and describe the domain again."""
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    _end_attempt(record.onboarding)
    return [_report(record, _describe_outcome(event)), DescribeDomain(event.uuid)]


def on_ports_added(inventory: Inventory, event: events.PortsAdded) -> list[Action]:
    """Describe the domain again, which has more ports now, or will never have them.

    That it cannot get them is not a failed attempt: it is not tried again until its
    next run, or until libvirt is connected again.
    """
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    state = record.onboarding
    state.port_obstacle = event.obstacle
    if event.obstacle:
        state.is_under_way = False
        state.attempts = max(0, state.attempts - 1)
        return [DescribeDomain(event.uuid)]
    _end_attempt(state)
    text = "virtio-serial controller added to the running domain"
    return [_report(record, text), DescribeDomain(event.uuid)]


def _end_attempt(state: OnboardingRecord) -> None:
    """Note that an attempt succeeded."""
    state.is_under_way = state.has_failed = False
    state.failure = ""
    if state.attempts >= IMMEDIATE_ATTEMPTS:
        state.pause = 2 ** (state.attempts - IMMEDIATE_ATTEMPTS)


def _describe_outcome(event: events.ChannelsAttached | events.ChannelsDetached) -> str:
    is_gain = isinstance(event, ChannelsAttached)
    verbs = (
        ("attached to", "added to") if is_gain else ("detached from", "removed from")
    )
    changes = (event.live, "the running domain"), (event.config, "its definition")
    return "; ".join(
        f"{name_all('channel', numbers)} {verb} {description}"
        for verb, (numbers, description) in zip(verbs, changes, strict=True)
        if numbers
    )


def on_failed(inventory: Inventory, event: events.OnboardingFailed) -> list[Action]:
    """Schedule another attempt, up to MAX_ATTEMPTS.

    A lost libvirt connection is not a fault of the domain and does not count: the next
    description, at the latest after a resync or a reconnect, leads to a new attempt.
    """
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    state = record.onboarding
    state.is_under_way = False
    if not event.is_final:
        state.attempts = max(0, state.attempts - 1)
        state.failure = f"onboarding: {event.reason}"
        return []
    state.has_failed = True
    state.pause = 2 ** max(0, state.attempts - 1)
    return [*_fail(inventory, record, event.reason), DescribeDomain(event.uuid)]


def on_removal_failed(
    inventory: Inventory, event: events.RemovalFailed
) -> list[Action]:
    """Report that a guest did not release a device that a program detached."""
    record = inventory.domains.get(event.uuid)
    return [
        Report(
            "onboarding",
            f"the guest did not release device {event.alias}",
            domain=record.spec.name if record else event.uuid,
            severity=Severity.WARNING,
        )
    ]


def on_resync(inventory: Inventory) -> None:
    """Count a resync: pauses get shorter, old attempts are forgotten."""
    for record in inventory.domains.values():
        state = record.onboarding
        if state.is_under_way:
            continue
        state.pause = max(0, state.pause - 1)
        state.idle_resyncs += 1
        if state.idle_resyncs > IDLE_RESYNCS:
            state.attempts = 0


def reset_attempts(inventory: Inventory) -> None:
    """Forget failed attempts: the configuration or the libvirt connection is new."""
    for record in inventory.domains.values():
        state = record.onboarding
        state.attempts = state.pause = 0
        state.has_failed = False
        state.failure = state.port_obstacle = ""


def _report(
    record: DomainRecord, text: str, severity: Severity = Severity.INFO
) -> Report:
    return Report(
        "onboarding",
        text.removeprefix("onboarding: "),
        domain=record.spec.name,
        severity=severity,
    )
