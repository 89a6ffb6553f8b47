# SPDX-License-Identifier: Apache-2.0
"""What `vmpower domain onboard` and `offboard` print."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.commands.arguments import POWER_OFF_NOTE
from cli.commands.domain_p_states import (
    build_document,
    report_offboarded,
    report_onboarded,
)
from cli.output.echo import echo
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.hypervisor.lookup import FoundDomain
    from orchestrator.hypervisor.manual_onboarding import Change, Preview
    from orchestrator.hypervisor.p_states import PStateChange

_SAVED_STATE = (
    "Domain '{name}' has a saved state ('virsh managedsave'), which stays as it is:"
    " the change takes effect after the domain has been restored and powered off, or"
    " after 'virsh managedsave-remove {name}'."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was changed in one domain; None: it was not to be changed."""

    channels: Change | None = None
    p_states: PStateChange | None = None

    @property
    def has_saved_state(self) -> bool:
        """Whether libvirt starts it from a saved state, which lacks the change."""
        changes = (self.channels, self.p_states)
        return any(it is not None and it.has_saved_state for it in changes)


def done_document(done: Done) -> dict[str, Any]:
    """Return what was changed, as part of a document."""
    from orchestrator.hypervisor.manual_onboarding import Change

    change = done.channels or Change()
    return {
        "live": list(change.live),
        "config": list(change.config),
        "waiting": list(change.waiting),
        "obstacle": change.obstacle,
        "by_rule": list(change.by_rule),
        "has_saved_state": done.has_saved_state,
        "p_states": done.p_states and build_document(done.p_states),
    }


def print_onboarded(name: str, done: Done) -> None:
    """Print what was added to a domain."""
    if done.p_states is not None:
        report_onboarded(name, done.p_states)
    change = done.channels
    if change is not None:
        _report_attached(name, change)
    if done.has_saved_state and _has_changed(done):
        echo(_SAVED_STATE.format(name=name))
    elif change is not None and (
        change.obstacle or (change.config and not change.live)
    ):
        echo(POWER_OFF_NOTE)


def _has_changed(done: Done) -> bool:
    p_states, change = done.p_states, done.channels
    has_channels = change is not None and (
        change.live or change.config or change.obstacle
    )
    return bool(has_channels or (p_states is not None and p_states.is_changed))


def _report_attached(name: str, change: Change) -> None:
    if not (change.live or change.config or change.obstacle):
        echo(f"Domain '{name}' already has all requested channels")
        return
    _report_channels(name, change, "attached to", "added to")
    if change.obstacle:
        missing = name_all("Channel", change.waiting)
        echo(
            f"{missing} not attached to the running domain '{name}': {change.obstacle}"
        )


def print_offboarded(name: str, done: Done) -> None:
    """Print what was removed from a domain."""
    change, p_states = done.channels, done.p_states
    if not _has_changed(done):
        if change is None:
            what = "P-states"
        else:
            what = "channels" if p_states is None else "channels or P-states"
        echo(f"Domain '{name}' has no {what} added by onboarding")
        return
    if change is not None:
        _report_channels(name, change, "detached from", "removed from")
    if p_states is not None:
        report_offboarded(name, p_states)
    if done.has_saved_state:
        echo(_SAVED_STATE.format(name=name))
    if change is not None:
        _report_rule(name, change.by_rule)


def _report_rule(name: str, numbers: Sequence[int]) -> None:
    if numbers:
        channels = name_all("channel", numbers)
        echo(
            f"hint: an [[onboard]] rule of vmpowerd added {channels}, and adds them"
            f" again while it matches; 'vmpower domain set {name} --no-onboard'"
            " prevents that",
            err=True,
        )


def _report_channels(name: str, change: Change, live: str, config: str) -> None:
    if change.live:
        channels = name_all("Channel", change.live)
        echo(f"{channels} {live} the running domain '{name}'")
    if change.config:
        channels = name_all("Channel", change.config)
        echo(f"{channels} {config} the definition of domain '{name}'")


def print_difference(domain: FoundDomain, previews: Sequence[Preview]) -> None:
    """Print the differences that a change would make, as `diff -u` does."""
    for preview in previews:
        what = "running" if preview.is_live else "definition"
        lines = difflib.unified_diff(
            preview.before.splitlines(),
            preview.after.splitlines(),
            f"{domain.name} ({what})",
            f"{domain.name} ({what}, changed)",
            lineterm="",
        )
        for line in lines:
            echo(line)
    if any(preview.has_saved_state for preview in previews):
        # Not among the lines that 'patch' may read.
        echo(_SAVED_STATE.format(name=domain.name), err=True)
    by_rule = {number for preview in previews for number in preview.by_rule}
    _report_rule(domain.name, sorted(by_rule))
