# SPDX-License-Identifier: Apache-2.0
"""`vmpower-guest set`, `query`, `energy` and `policy`."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Callable, TypeVar

from orchestrator.channel.protocol import MAX_VCPUS, PolicyKind, Unit
from orchestrator.errors import AnswerMissing, HostAbsent, RequestRefused
from orchestrator.guest import policies
from orchestrator.guest.calls import FREQUENCY_CHANGES
from orchestrator.guest.ports import open_any_clock, open_clock
from orchestrator.guest.report import Reporter, warn

if TYPE_CHECKING:
    from argparse import Namespace

    from orchestrator.channel.protocol import PolicyPacket
    from orchestrator.guest.clock import VCpuClock

T = TypeVar("T")

_POLL_S = 0.5
_REPEATS = 9
"""How often a request is repeated that is not answered. A busy host drops answers that
would be late."""
_STEPPING = (Unit.SCALE_UP, Unit.SCALE_DOWN)
"""What is not repeated: the host may have obeyed."""
_LASTING = "; in effect until this command ends"


def set_frequency(options: Namespace, reporter: Reporter) -> None:
    """Request a change of a vCPU's frequency, and keep it in effect."""
    vcpu, change = options.vcpu, options.change

    def request(clock: VCpuClock) -> None:
        unit = FREQUENCY_CHANGES[change]
        if unit in _STEPPING:
            clock.change(unit)
        else:
            _repeat(lambda: clock.change(unit))
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
            reporter.show_frequencies(_repeat(clock.query_freqs))
            _note_limit()
        elif options.what == "freq":
            khz = _repeat(lambda: clock.query_freq(vcpu))
            reporter.show_frequencies({vcpu: khz})
        elif vcpu is None:
            reporter.show_capabilities(_repeat(clock.query_all_caps))
            _note_limit()
        else:
            capabilities = _repeat(lambda: clock.query_caps(vcpu))
            reporter.show_capabilities({vcpu: capabilities})


def energy(options: Namespace, reporter: Reporter) -> None:
    """Show what the VM draws and saves."""
    with open_any_clock(options) as clock:
        reporter.show_energy(_repeat(clock.query_energy))


def send_policy(options: Namespace, reporter: Reporter) -> None:
    """Send a policy, and keep it in effect."""
    policy = build_policy(options)

    def send(clock: VCpuClock) -> None:
        _repeat(lambda: clock.send_policy(policy))
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


def _repeat(request: Callable[[], T]) -> T:
    """Make a request until it is answered, but not for ever."""
    for _ in range(_REPEATS):
        with suppress(AnswerMissing):
            return request()
    return request()


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
