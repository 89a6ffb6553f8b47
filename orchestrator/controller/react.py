# SPDX-License-Identifier: Apache-2.0
"""`react(event) -> actions`: the entry point of all decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import events
from orchestrator.controller import (
    attributes,
    channels,
    domains,
    drift,
    energy,
    groups,
    guest_ports,
    onboarding,
    p_states,
    policies,
    policy_subjects,
    quarantine,
    saved_state,
)
from orchestrator.controller import host as hosts
from orchestrator.controller import refusal_causes as refusals
from orchestrator.controller.actions import (
    ListDomains,
    ReadKernelLimits,
    ReadTopology,
    RefreshAttributes,
    Report,
    Severity,
    StartMonitor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.events import Event


class Controller:
    """Turns events into actions; its only state is the inventory.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory

    def react(self, event: Event) -> list[Action]:
        """Update the inventory and return the actions that follow."""
        return _REACTIONS[type(event)](self.inventory, event)


def _on_libvirt_connected(
    inventory: Inventory, _event: events.LibvirtConnected
) -> list[Action]:
    libvirt = inventory.libvirt
    libvirt.reconnects_total += libvirt.has_been_connected
    libvirt.is_connected = libvirt.has_been_connected = True
    libvirt.stale_since = None
    libvirt.reason = ""
    onboarding.reset_attempts(inventory)
    return [Report("libvirt", "connected to libvirt"), ListDomains()]


def _on_libvirt_lost(inventory: Inventory, event: events.LibvirtLost) -> list[Action]:
    libvirt = inventory.libvirt
    libvirt.is_connected = False
    libvirt.stale_since = libvirt.stale_since or event.at
    libvirt.reason = event.reason
    text = f"connection lost ({event.reason}), using the last known pinning"
    return [Report("libvirt", text, severity=Severity.WARNING)]


def _on_libvirt_awaited(
    inventory: Inventory, event: events.LibvirtAwaited
) -> list[Action]:
    inventory.libvirt.reason = event.reason
    text = f"waiting for libvirt: {event.reason}"
    return [Report("libvirt", text, severity=Severity.WARNING)]


def _on_resync(inventory: Inventory, _event: events.ResyncDue) -> list[Action]:
    actions: list[Action] = [ReadTopology(is_thorough=False)]
    actions += [ReadKernelLimits(tuple(inventory.groups)), RefreshAttributes()]
    actions += channels.retry_refused(inventory)
    quarantine.forgive(inventory)
    actions += hosts.retry_failed(inventory)
    onboarding.on_resync(inventory)
    domains.on_resync(inventory)
    if inventory.libvirt.is_connected:
        actions.append(ListDomains())
    return actions


def _on_monitor_died(inventory: Inventory, event: events.MonitorDied) -> list[Action]:
    inventory.is_monitor_up = False
    inventory.monitor_restarts_total += 1
    text = f"the monitor exited with status {event.status}: restarting it"
    return [
        Report("monitor", text, severity=Severity.ERROR),
        *channels.break_all(inventory),
        StartMonitor(),
    ]


def _on_group_failed(inventory: Inventory, event: events.GroupFailed) -> list[Action]:
    return [
        *groups.on_failed(inventory, event),
        *hosts.replace_pinned(inventory, event.group),
    ]


_REACTIONS: Mapping[type[Event], Callable[[Inventory, Any], list[Action]]] = {
    events.LibvirtConnected: _on_libvirt_connected,
    events.LibvirtLost: _on_libvirt_lost,
    events.LibvirtAwaited: _on_libvirt_awaited,
    events.ResyncDue: _on_resync,
    events.StateLoaded: saved_state.on_loaded,
    events.TopologyRead: hosts.on_topology,
    events.KernelLimitsRead: hosts.on_kernel_limits,
    events.AttributesRead: attributes.on_read,
    events.MetersDoubted: energy.on_meters_doubted,
    events.ConfigReloaded: hosts.on_config,
    events.DomainsListed: domains.on_listed,
    events.DomainChanged: domains.on_changed,
    events.DomainDescribed: domains.on_described,
    events.DomainVanished: domains.on_vanished,
    events.DomainUndescribed: domains.on_undescribed,
    events.DomainRebooted: domains.on_rebooted,
    events.GuestPortChanged: guest_ports.on_guest_port,
    events.PortCloseUnconfirmed: guest_ports.on_close_doubted,
    events.RemovalFailed: onboarding.on_removal_failed,
    events.ChannelsAttached: onboarding.on_done,
    events.ChannelsDetached: onboarding.on_done,
    events.PortsAdded: onboarding.on_ports_added,
    events.PStatesMade: p_states.on_made,
    events.OnboardingFailed: onboarding.on_failed,
    events.ChannelConnected: channels.on_connected,
    events.ChannelAbsent: channels.on_absent,
    events.ChannelContended: channels.on_contended,
    events.ChannelRefused: channels.on_refused,
    events.ChannelAbused: quarantine.on_abused,
    events.EndpointClosed: channels.on_endpoint_closed,
    events.PolicySent: policies.on_sent,
    events.PolicyRemoved: policies.on_removed,
    events.PolicyInstalled: policies.on_installed,
    events.PolicyRefused: policies.on_refused,
    events.PolicyEnded: policies.on_ended,
    events.PoliciesChanged: policy_subjects.on_policies_changed,
    events.ChannelSwitched: channels.on_switched,
    events.GroupPrepared: groups.on_prepared,
    events.TakeWanted: groups.on_take_wanted,
    events.GroupRenewed: groups.on_renewed,
    events.GroupTaken: groups.on_taken,
    events.GroupFailed: _on_group_failed,
    events.GroupYielded: groups.on_yielded,
    events.GroupRestored: groups.on_restored,
    events.VerificationDue: drift.on_verification_due,
    events.CpusSwitched: drift.on_cpus_switched,
    events.DriverReplaced: groups.on_driver_replaced,
    events.GroupDrifted: drift.on_drifted,
    events.GroupRetaken: drift.on_retaken,
    events.RequestRefused: refusals.on_refused,
    events.WriteRefused: groups.on_write_refused,
    events.OverrideSet: groups.on_override_set,
    events.OverrideReleased: groups.on_override_released,
    events.MonitorStarted: hosts.on_monitor_started,
    events.MonitorDied: _on_monitor_died,
}
