"""Onboarding: who is given the channels it lacks, and who must give them back.

Rules of the configuration decide; without a rule nobody is touched. What we gave is
remembered in the domain's own metadata, so that it is taken back exactly, also by a
daemon that was started later.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from orchestrator.actions import (
    AttachChannels,
    DescribeDomain,
    DetachChannels,
    Report,
    Severity,
)
from orchestrator.cpuset import format_cpulist
from orchestrator.events import ChannelsAttached

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.actions import Action
    from orchestrator.inventory import DomainRecord, Inventory

NO_PORTS = (
    "has no virtio-serial controller with free ports: give its definition the "
    "channels, then power it off and start it again"
)


def review(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Decide whether a domain is to be given channels, or to give some back."""
    spec = record.spec
    if record.is_onboarding or not spec.state.is_executing:
        return []
    if record.onboarding_failed_run == spec.run:
        return []
    if not _is_matched(inventory, record):
        return _give_back(record)
    if not spec.missing_channels:
        record.onboarding_problem = ""
        return []
    if not spec.has_free_ports:
        return _fail(record, NO_PORTS)
    record.is_onboarding = True
    return [AttachChannels(spec.uuid, spec.missing_channels)]


def _is_matched(inventory: Inventory, record: DomainRecord) -> bool:
    name = record.spec.name
    return any(fnmatchcase(name, rule.match) for rule in inventory.config.onboard)


def _give_back(record: DomainRecord) -> list[Action]:
    record.onboarding_problem = ""
    if not record.spec.attached_channels:
        return []
    record.is_onboarding = True
    return [DetachChannels(record.spec.uuid, record.spec.attached_channels)]


def _fail(record: DomainRecord, reason: str) -> list[Action]:
    record.onboarding_failed_run = record.spec.run
    record.onboarding_problem = f"onboarding: {reason}"
    return [
        Report("onboarding", reason, domain=record.spec.name, severity=Severity.WARNING)
    ]


def on_done(
    inventory: Inventory, event: events.ChannelsAttached | events.ChannelsDetached
) -> list[Action]:
    """Channels were given or taken: look at the domain again."""
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    record.is_onboarding = False
    record.onboarding_problem = ""
    done = "attached" if isinstance(event, ChannelsAttached) else "detached"
    numbers = format_cpulist(event.numbers)
    return [
        Report("onboarding", f"{done} channels {numbers}", domain=record.spec.name),
        DescribeDomain(event.uuid),
    ]


def on_failed(inventory: Inventory, event: events.OnboardingFailed) -> list[Action]:
    """It did not work and was rolled back: not again in this run of the domain.

    Unless it was libvirt that was not there: the next description tries again, which
    comes at the latest with a resync or a new connection.
    """
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    record.is_onboarding = False
    if not event.is_final:
        record.onboarding_problem = f"onboarding: {event.reason}"
        return []
    return [*_fail(record, event.reason), DescribeDomain(event.uuid)]


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


def forgive(inventory: Inventory) -> None:
    """Forget failures: the rules are new."""
    for record in inventory.domains.values():
        record.onboarding_failed_run = None
        record.onboarding_problem = ""
