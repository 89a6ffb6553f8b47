# SPDX-License-Identifier: Apache-2.0
"""`vmpower-guest set`, `query`, `energy` and `policy`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Callable

from orchestrator.channel.protocol import MAX_VCPUS, PolicyKind
from orchestrator.errors import AnswerMissing, HostAbsent, RequestRefused
from orchestrator.guest import policies
from orchestrator.guest.calls import FREQUENCY_CHANGES
from orchestrator.guest.ports import open_any_clock, open_clock
from orchestrator.guest.report import Reporter, warn

if TYPE_CHECKING:
    from argparse import Namespace

    from orchestrator.channel.protocol import PolicyPacket
    from orchestrator.guest.clock import VCpuClock

_POLL_S = 0.5
_LASTING = "; in effect until this command ends"


def set_frequency(options: Namespace, reporter: Reporter) -> None:
    """Request a change of a vCPU's frequency, and keep it in effect."""
    vcpu, change = options.vcpu, options.change

    def request(clock: VCpuClock) -> None:
        clock.change(FREQUENCY_CHANGES[change])
        text = f"vCPU {vcpu}: {change}, acknowledged{_lasting(options)}"
        reporter.write(text, vcpu=vcpu, asked=change, answer="ack")

    with open_clock(vcpu, options) as clock:
        request(clock)
        if not options.once:
            _keep(clock, request)


def query(options: Namespace, reporter: Reporter) -> None:
    """Show frequencies or capabilities."""
    vcpu = options.vcpu
    with open_any_clock(options, vcpu) as clock:
        if options.what == "freq" and vcpu is None:
            reporter.show_frequencies(clock.query_freqs())
            _note_limit()
        elif options.what == "freq":
            reporter.show_frequencies({vcpu: clock.query_freq(vcpu)})
        elif vcpu is None:
            reporter.show_capabilities(clock.query_all_caps())
            _note_limit()
        else:
            reporter.show_capabilities({vcpu: clock.query_caps(vcpu)})


def energy(options: Namespace, reporter: Reporter) -> None:
    """Show what the VM draws and saves."""
    with open_any_clock(options) as clock:
        reporter.show_energy(clock.query_energy())


def send_policy(options: Namespace, reporter: Reporter) -> None:
    """Send a policy, and keep it in effect."""
    policy = build_policy(options)

    def send(clock: VCpuClock) -> None:
        clock.send_policy(policy)
        vcpus = ",".join(map(str, options.vcpus))
        reporter.write(
            f"{options.kind} policy for vCPU{'s' if len(options.vcpus) > 1 else ''}"
            f" {vcpus}, acknowledged{_lasting(options)}",
            policy=options.kind,
            vcpus=options.vcpus,
            answer="ack",
        )

    with open_any_clock(options, options.vcpus[0]) as clock:
        send(clock)
        if not options.once:
            _keep(clock, send)


def remove_policy(options: Namespace, reporter: Reporter) -> None:
    """Remove the policy."""
    with open_any_clock(options) as clock:
        clock.remove_policy()
    reporter.write("removal sent (hosts do not answer it)", policy=None)


def build_policy(options: Namespace) -> PolicyPacket:
    """Build the packet of `policy send`.

    Raises:
        PacketError: a value does not fit into the packet.
    """
    kind = PolicyKind[options.kind.upper().replace("-", "_")]
    policy = policies.new_policy(kind, options.vcpus)
    if options.vm_name:
        policy = policies.set_vm_name(policy, options.vm_name)
    if kind is PolicyKind.WORKLOAD:
        return policy._replace(workload=policies.WORKLOADS[options.level])
    if kind is PolicyKind.BRANCH_RATIO:
        return policy
    policy = policies.set_traffic(
        policy, options.macs, options.avg_pps, options.max_pps
    )
    if kind is PolicyKind.TRAFFIC:
        return policy
    return policies.set_hours(policy, options.busy, options.quiet, options.by_traffic)


def _lasting(options: Namespace) -> str:
    return "" if options.once else _LASTING


def _keep(clock: VCpuClock, request: Callable[[VCpuClock], None]) -> None:
    """Keep the port open; repeat the request when the host comes back."""
    is_in_effect = True
    while True:
        time.sleep(_POLL_S)
        if not clock.has_host():
            if is_in_effect:
                warn("no host is connected; waiting for one")
            is_in_effect = False
        elif not is_in_effect:
            try:
                request(clock)
                is_in_effect = True
            except (AnswerMissing, HostAbsent):
                continue
            except RequestRefused as error:
                warn(str(error), error.hint)
                is_in_effect = True


def _note_limit() -> None:
    count = os.cpu_count() or 1
    if count > MAX_VCPUS:
        warn(f"note: only vCPUs 0-{MAX_VCPUS - 1} of {count} fit into an answer")
