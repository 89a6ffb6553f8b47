"""What the commands `set`, `query` and `policy` do."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Callable

from orchestrator.channel.protocol import MAX_VCPUS, PolicyKind
from orchestrator.errors import AnswerMissing, HostAbsent, RequestRefused
from orchestrator.guest import policies
from orchestrator.guest.asks import CLOCKS
from orchestrator.guest.ports import open_any_clock, open_clock
from orchestrator.guest.report import Reporter, warn

if TYPE_CHECKING:
    from argparse import Namespace

    from orchestrator.channel.protocol import PolicyPacket
    from orchestrator.guest.clock import VCpuClock

_LOOK_S = 0.5
_HELD = ", held until this command ends"


def set_clock(options: Namespace, reporter: Reporter) -> None:
    """Ask for a change of a vCPU's clock, and hold it."""
    vcpu, word = options.vcpu, options.word

    def ask(clock: VCpuClock) -> None:
        clock.change(CLOCKS[word])
        text = f"vCPU {vcpu}: {word}, acknowledged{_held(options)}"
        reporter.tell(text, vcpu=vcpu, asked=word, answer="ack")

    with open_clock(vcpu, options) as clock:
        ask(clock)
        if not options.once:
            _hold(clock, ask)


def query(options: Namespace, reporter: Reporter) -> None:
    """Show clocks, or what the CPUs can do."""
    vcpu = options.vcpu
    with open_any_clock(options, vcpu) as clock:
        if options.what == "freq" and vcpu is None:
            reporter.show_clocks(clock.query_freqs())
            _note_slots()
        elif options.what == "freq":
            reporter.show_clocks({vcpu: clock.query_freq(vcpu)})
        elif vcpu is None:
            reporter.show_abilities(clock.query_all_caps())
            _note_slots()
        else:
            reporter.show_abilities({vcpu: clock.query_caps(vcpu)})


def send_policy(options: Namespace, reporter: Reporter) -> None:
    """Send a policy, and hold it."""
    policy = build_policy(options)

    def send(clock: VCpuClock) -> None:
        clock.send_policy(policy)
        vcpus = ",".join(map(str, options.vcpus))
        reporter.tell(
            f"{options.kind} policy for vCPU {vcpus}, acknowledged{_held(options)}",
            policy=options.kind,
            vcpus=options.vcpus,
            answer="ack",
        )

    with open_any_clock(options, options.vcpus[0]) as clock:
        send(clock)
        if not options.once:
            _hold(clock, send)


def remove_policy(options: Namespace, reporter: Reporter) -> None:
    """End the policy that was sent."""
    with open_any_clock(options) as clock:
        clock.remove_policy()
    reporter.tell("the host was told (it does not answer this)", policy=None)


def build_policy(options: Namespace) -> PolicyPacket:
    """Build the packet of `policy send`.

    Raises:
        PacketError: it cannot be said.
    """
    kind = PolicyKind[options.kind.upper().replace("-", "_")]
    policy = policies.new_policy(kind, options.vcpus)
    if options.vm_name:
        policy = policies.name_vm(policy, options.vm_name)
    if kind is PolicyKind.WORKLOAD:
        return policy._replace(workload=policies.WORKLOADS[options.level])
    if kind is PolicyKind.BRANCH_RATIO:
        return policy
    policy = policies.watch_traffic(
        policy, options.macs, options.avg_pps, options.max_pps
    )
    if kind is PolicyKind.TRAFFIC:
        return policy
    return policies.keep_hours(policy, options.busy, options.quiet, options.by_traffic)


def _held(options: Namespace) -> str:
    return "" if options.once else _HELD


def _hold(clock: VCpuClock, ask: Callable[[VCpuClock], None]) -> None:
    """Keep the port open for ever; ask again when the host was away."""
    is_held = True
    while True:
        time.sleep(_LOOK_S)
        if not clock.has_host():
            if is_held:
                warn("the host is gone; waiting for it")
            is_held = False
        elif not is_held:
            try:
                ask(clock)
                is_held = True
            except (AnswerMissing, HostAbsent):
                continue
            except RequestRefused as error:
                warn(str(error), error.hint)
                is_held = True


def _note_slots() -> None:
    count = os.cpu_count() or 1
    if count > MAX_VCPUS:
        warn(f"note: an answer has room for {MAX_VCPUS} vCPUs; this VM has {count}")
