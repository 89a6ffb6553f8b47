"""Onboarding: who is given the channels it lacks, and who must give them back.

Theory of operation: the rules of the configuration say which channels a domain should
have; what it has, in the running domain and in its definition, its description says.
The difference is what is to be done, so that any order of events, also events that got
lost, ends alike. A running domain takes as many as it has ports for, the lowest first.
The rest is not tried: it is told, and comes with the next start, because the definition
has it.

What a rule gave is remembered in the domain's own metadata, so that it is taken back
exactly, also by a daemon that was started later. What others gave is left alone.

An attempt can fail, and it can succeed and be undone by another program, for ever; so
attempts are few, and the pause between them grows, counted in resyncs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.controller.actions import (
    AttachChannels,
    DescribeDomain,
    DetachChannels,
    Report,
    Severity,
)
from orchestrator.controller.inventory import OnboardingRecord
from orchestrator.events import ChannelsAttached
from orchestrator.onboarding.rule import NONE
from orchestrator.rights import DEFAULT, Said, resolve_rights
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.config import Config
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import DomainRecord, Inventory
    from orchestrator.onboarding.rule import OnboardRule
    from orchestrator.values.domain import DomainSpec, Holdings

FREE_EFFORTS = 3
"""Attempts that may succeed one right after the other: a tool that defines a domain
anew does so once or twice."""
MOST_EFFORTS = 8
"""After these it needs another run, other rules or somebody's help; with a resync each
30 s they take an hour."""
CALM_RESYNCS = 2
"""After so many resyncs without anything to do, earlier attempts are forgotten; the
first may come an instant after an attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """What one description of a domain has too little and too much."""

    lacking: tuple[int, ...] = ()
    surplus: tuple[int, ...] = ()


def find_rule(config: Config, spec: DomainSpec) -> OnboardRule | None:
    """Return the rule that decides about a domain: the first that means it."""
    word = resolve_rights(config, spec).onboard.value
    return next((rule for rule in config.onboard if rule.means(spec, word=word)), None)


def explain(config: Config, spec: DomainSpec) -> Said[str]:
    """Say which channels a domain is given, and by whose word."""
    rule = find_rule(config, spec)
    if rule is not None:
        return Said(rule.channels, f"onboard rule {rule.match or '*'}")
    wish = resolve_rights(config, spec).onboard
    # Without any rule, its own word is not what kept it from being onboarded.
    is_refusal = wish.value is False and bool(config.onboard)
    return Said(NONE, wish.source if is_refusal else DEFAULT)


def review(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Decide whether a domain is to be given channels, or to give some back."""
    spec = record.spec
    if record.onboarding.run != spec.run:
        is_under_way = record.onboarding.is_under_way
        record.onboarding = OnboardingRecord(run=spec.run, is_under_way=is_under_way)
    if record.onboarding.is_under_way:
        return []
    rule = find_rule(inventory.config, spec)
    live, definition = _compare(rule, spec.live), _compare(rule, spec.definition)
    if not spec.state.is_executing:
        live = _Difference()
    ports = spec.live.free_ports if spec.live else 0
    told = _tell_waiting(record, live.lacking[ports:])
    live = replace(live, lacking=live.lacking[:ports])
    if record.onboarding.is_refused and definition != _Difference():
        live = _Difference()
    if live.surplus or definition.surplus:
        wanted: Action = DetachChannels(spec.uuid, live.surplus, definition.surplus)
    elif live.lacking or definition.lacking:
        wanted = AttachChannels(spec.uuid, live.lacking, definition.lacking)
    else:
        record.onboarding.failure = ""
        return told
    return told + _attempt(inventory, record, wanted)


def _compare(rule: OnboardRule | None, holdings: Holdings | None) -> _Difference:
    if holdings is None:
        return _Difference()
    if rule is None:
        return _Difference(surplus=tuple(sorted(holdings.given)))
    wanted = rule.wanted(holdings.vcpus)
    # A channel outlives the unplugging of its vCPU: the guest may hold it open.
    surplus = frozenset[int]() if rule.follows_vcpus else holdings.given - wanted
    return _Difference(
        lacking=tuple(sorted(wanted - holdings.present)),
        surplus=tuple(sorted(surplus)),
    )


def _tell_waiting(record: DomainRecord, waiting: tuple[int, ...]) -> list[Action]:
    """Tell what a running domain has no ports for; once, not at each look."""
    before = record.onboarding.waiting
    record.onboarding.waiting = ""
    if not waiting:
        return []
    then = "power it off and start it again"
    if record.spec.definition is None:
        then = "it is transient, so that it must be made anew with them"
    record.onboarding.waiting = (
        f"onboarding: no port for {name_all('channel', waiting)} while it runs:"
        f" its virtio-serial controllers are full, and it takes no further one: {then}"
    )
    if record.onboarding.waiting == before:
        return []
    return [_report(record, record.onboarding.waiting, Severity.WARNING)]


def _attempt(
    inventory: Inventory, record: DomainRecord, wanted: Action
) -> list[Action]:
    """Do it, if it was not tried too often."""
    state = record.onboarding
    state.calm = 0
    if state.pause or state.efforts >= MOST_EFFORTS:
        if state.failure:
            return []
        return _fail(inventory, record, "its channels are changed by somebody else")
    state.efforts += 1
    state.is_under_way = True
    return [wanted]


def _fail(inventory: Inventory, record: DomainRecord, reason: str) -> list[Action]:
    state = record.onboarding
    then = f"again in {state.pause * inventory.config.libvirt.resync_s:.0f} s"
    if state.efforts >= MOST_EFFORTS:
        then = "given up until it is started anew or the rules are reloaded"
    state.failure = f"onboarding: {reason}; {then}"
    return [_report(record, state.failure, Severity.WARNING)]


def on_done(
    inventory: Inventory, event: events.ChannelsAttached | events.ChannelsDetached
) -> list[Action]:
    """Channels were given or taken: look at the domain again."""
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    state = record.onboarding
    state.is_under_way = state.is_refused = False
    state.failure = ""
    if state.efforts >= FREE_EFFORTS:
        state.pause = 2 ** (state.efforts - FREE_EFFORTS)
    return [_report(record, _tell_done(event)), DescribeDomain(event.uuid)]


def _tell_done(event: events.ChannelsAttached | events.ChannelsDetached) -> str:
    is_gain = isinstance(event, ChannelsAttached)
    words = ("attached to", "added to") if is_gain else ("detached from", "taken from")
    sides = (event.live, "the running domain"), (event.config, "its definition")
    return "; ".join(
        f"{name_all('channel', numbers)} {word} {side}"
        for word, (numbers, side) in zip(words, sides, strict=True)
        if numbers
    )


def on_failed(inventory: Inventory, event: events.OnboardingFailed) -> list[Action]:
    """It did not work: again after a pause, but not for ever.

    If it was libvirt that was not there, that says nothing about the domain: the next
    description tries again, which comes at the latest with a resync or a new
    connection.
    """
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    state = record.onboarding
    state.is_under_way = False
    if not event.is_final:
        state.efforts = max(0, state.efforts - 1)
        state.failure = f"onboarding: {event.reason}"
        return []
    state.is_refused = True
    state.pause = 2 ** max(0, state.efforts - 1)
    return [*_fail(inventory, record, event.reason), DescribeDomain(event.uuid)]


def on_removal_failed(
    inventory: Inventory, event: events.RemovalFailed
) -> list[Action]:
    """A guest kept a device that somebody wanted to remove."""
    record = inventory.domains.get(event.uuid)
    return [
        Report(
            "onboarding",
            f"guest did not let go of {event.alias}",
            domain=record.spec.name if record else event.uuid,
            severity=Severity.WARNING,
        )
    ]


def on_resync(inventory: Inventory) -> None:
    """Let time pass: pauses get shorter, and what went well is forgotten."""
    for record in inventory.domains.values():
        state = record.onboarding
        if state.is_under_way:
            continue
        state.pause = max(0, state.pause - 1)
        state.calm += 1
        if state.calm > CALM_RESYNCS:
            state.efforts = 0


def forgive(inventory: Inventory) -> None:
    """Forget failures: the rules are new, or libvirt is."""
    for record in inventory.domains.values():
        state = record.onboarding
        state.efforts = state.pause = 0
        state.is_refused = False
        state.failure = ""


def _report(
    record: DomainRecord, text: str, severity: Severity = Severity.INFO
) -> Report:
    return Report(
        "onboarding",
        text.removeprefix("onboarding: "),
        domain=record.spec.name,
        severity=severity,
    )
