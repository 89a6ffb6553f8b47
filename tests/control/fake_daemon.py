"""A small daemon behind the control API: it behaves, but owns no CPU and no libvirt.

It obeys what `ControlBackend` promises: it knows its domains and CPUs, refuses those
that it does not know, rounds clocks up to a step, and tells events.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.control.feed import EventFeed
from orchestrator.control.models import (
    Bound,
    Channel,
    Cpu,
    DaemonStatus,
    Domain,
    EventRecord,
    GenerationRight,
    LibvirtStatus,
    ModeRight,
    OnboardingRight,
    Outcome,
    OutcomeList,
    Permission,
    Policy,
    PolicyWant,
    Rights,
    Status,
    UnmanagedCpu,
    Vcpu,
)
from orchestrator.control.server import ControlServer
from orchestrator.errors import ConfigError, ControlError
from orchestrator.operations.dpdk.json_messages import (
    MessageSplitter,
    parse_instruction,
)
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.subject import SourceKind
from orchestrator.policy.text import format_policy
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import TARGET_PREFIX, DomainState
from orchestrator.values.domain_settings import Mode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from orchestrator.control.service import Peer
    from orchestrator.policy.kinds.contract import PolicyKind
    from orchestrator.policy.rule import PolicyRule
    from orchestrator.values.domain import DomainId, PCpu

STEPS = (3_001_000, 3_000_000, 2_600_000, 2_200_000, 1_800_000, 1_200_000)
FIREWALL = "11111111-1111-4111-8111-111111111111"
ROUTER = "22222222-2222-4222-8222-222222222222"
WEB = "33333333-3333-4333-8333-333333333333"
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def channel(
    number: int,
    *,
    state: ChannelState = ChannelState.OPEN,
    requests: int = 0,
    nacks: int = 0,
    reason: str | None = None,
    generation: int | None = 464,
    nacked: dict[str, tuple[int, str]] | None = None,
) -> Channel:
    return Channel(
        number=number,
        target=f"{TARGET_PREFIX}{number}",
        path=f"/var/lib/libvirt/qemu/channel/target/domain-1-fw/{number}",
        state=state,
        requests_total=requests,
        acks_total=requests - nacks,
        nacks_total=nacks,
        dropped_total=0,
        late_total=0,
        errors_total=0,
        enabled=state is not ChannelState.DISABLED,
        reason=reason,
        generation=generation,
        generation_given=generation == 456,
        nack_reasons={word: count for word, (count, _) in (nacked or {}).items()},
        nack_causes={word: why for word, (_, why) in (nacked or {}).items() if why},
    )


def vcpu(
    number: int, *pcpus: int, wish_khz: int | None = None, reason: str | None = None
) -> Vcpu:
    return Vcpu(
        vcpu=number,
        pcpus=pcpus,
        controllable=reason is None,
        reason=reason,
        wish_khz=wish_khz,
        clock_group=None if reason else pcpus[0] // 2 * 2,
        min_khz=None if reason else STEPS[-1],
        max_khz=None if reason else STEPS[2],
    )


def cpu(pcpu: int, grant_khz: int | None, *, claimed: bool = True) -> Cpu:
    return Cpu(
        pcpu=pcpu,
        clock_group=pcpu // 2 * 2,
        driver="acpi-cpufreq",
        governor="userspace" if claimed else "schedutil",
        claimed=claimed,
        simulated=True,
        min_khz=STEPS[-1],
        max_khz=STEPS[0],
        grant_khz=grant_khz,
        current_khz=grant_khz or 2_200_000,
        steps_khz=STEPS,
        nominal_khz=STEPS[1],
        package=pcpu // 4,
        core=pcpu // 2 * 2,
        node=pcpu // 4,
    )


def policy(
    source: SourceKind,
    kind: PolicyKind,
    *wants: PolicyWant,
    name: str = "",
    problem: str | None = None,
) -> Policy:
    return Policy(
        source=source,
        name=name,
        channel=1 if source is SourceKind.GUEST else None,
        kind=kind,
        text=str(kind),
        wants=wants,
        problem=problem,
    )


RIGHTS = Rights(
    min_khz=Bound(value=None, source="default"),
    max_khz=Bound(value=2_600_000, source="rule dpdk-*"),
    turbo=Permission(value=False, source="host"),
    mode=ModeRight(value=Mode.ENFORCE, source="metadata"),
    queries=Permission(value=True, source="default"),
    guest_policies=Permission(value=True, source="default"),
    generation=GenerationRight(value=None, source="default"),
    onboarding=OnboardingRight(value="none", source="default"),
)
DOMAINS = (
    Domain(
        uuid=FIREWALL,
        name="dpdk-fw",
        id=1,
        state=DomainState.RUNNING,
        mode=Mode.ENFORCE,
        vcpus=(
            vcpu(0, 2, wish_khz=2_600_000),
            vcpu(1, 3, wish_khz=1_800_000),
            vcpu(2, 4, 6, reason="pinned to CPUs of more than one clock group: 4,6"),
        ),
        channels=(
            channel(
                0,
                requests=12_345,
                nacks=3,
                nacked={
                    "turbo": (1, "turbo is not allowed (host)"),
                    "no-vcpu": (2, "it named vCPU 7, and has only vCPUs 0-2"),
                },
            ),
            channel(1, requests=88),
            channel(2, requests=5, nacks=5, nacked={"floating": (5, "")}),
        ),
        rights=RIGHTS,
        policies=(
            policy(
                SourceKind.RULE,
                Utilisation.kind,
                PolicyWant(vcpu=0, khz=1_200_000, counts=False),
                PolicyWant(vcpu=1, khz=1_800_000),
                name="dpdk-*[0]",
            ),
            policy(
                SourceKind.OPERATOR,
                Traffic.kind,
                PolicyWant(vcpu=0, khz=None),
                name="cli",
                problem="vnet0 is gone",
            ),
        ),
        problems=("metadata, line 7: 'fast' is no frequency",),
    ),
    Domain(
        uuid=ROUTER,
        name="dpdk-router",
        id=2,
        state=DomainState.PAUSED,
        mode=Mode.OBSERVE,
        vcpus=(vcpu(0, 4), vcpu(1, 5)),
        channels=(
            channel(0, state=ChannelState.DISABLED, requests=7),
            channel(
                1,
                state=ChannelState.CONTENDED,
                generation=None,
                reason="another program is connected to it",
            ),
            channel(9, requests=2, generation=456),
        ),
        problems=("channel 5 appears twice, the second one is left alone",),
    ),
    Domain(
        uuid=WEB,
        name="web",
        state=DomainState.SHUTOFF,
        mode=Mode.ENFORCE,
        vcpus=(),
        channels=(),
    ),
)
CPUS = (
    cpu(0, None, claimed=False),
    cpu(1, None, claimed=False),
    cpu(2, 2_600_000),
    cpu(3, 2_600_000),
    cpu(4, None, claimed=False),
    cpu(5, None, claimed=False),
)
UNMANAGED = (UnmanagedCpu(pcpu=6, reason="offline"),)


class FakeDaemon:
    """Implements `ControlBackend`."""

    def __init__(self) -> None:
        self.feed = EventFeed(capacity=1_000)
        self.callers: list[Peer] = []
        self.domains = {domain.uuid: domain for domain in DOMAINS}
        self.cpus = {one.pcpu: one for one in CPUS}
        self.libvirt = LibvirtStatus(
            uri="qemu:///system", connected=True, reconnects_total=0, stale_since=None
        )
        for second, text in enumerate(("dpdk-fw is running", "channel 0 is open")):
            self.tell("channel-state", text, domain="dpdk-fw", second=second)

    def tell(
        self, kind: str, text: str, *, domain: str | None = None, second: int = 0
    ) -> None:
        time = START + timedelta(seconds=second)
        self.feed.publish(EventRecord(time=time, kind=kind, domain=domain, text=text))

    def lose_libvirt(self) -> None:
        self.libvirt = LibvirtStatus(
            uri="qemu:///system",
            connected=False,
            reconnects_total=2,
            stale_since=START,
            reason="connection refused",
        )

    async def status(self) -> Status:
        return self.picture()

    def picture(self) -> Status:
        return Status(
            daemon=DaemonStatus(
                version="0.1.0",
                pid=4711,
                mode=Mode.ENFORCE,
                uptime_s=7384.5,
                run_dir="/run/vmpower",
                sysfs_root="/tmp/cpus",
                monitor_pid=4712,
            ),
            libvirt=self.libvirt,
            domains=tuple(self.domains.values()),
            cpus=tuple(self.cpus.values()),
            unmanaged_cpus=UNMANAGED,
        )

    async def override(self, pcpu: PCpu, khz: int, *, who: Peer) -> Cpu:
        step = min((s for s in STEPS if s >= khz), default=STEPS[0])
        return self._set_group(pcpu, step, who)

    async def release(self, pcpu: PCpu, *, who: Peer) -> Cpu:
        return self._set_group(pcpu, None, who)

    def _set_group(self, pcpu: PCpu, khz: int | None, who: Peer) -> Cpu:
        if pcpu not in self.cpus:
            raise ControlError(f"CPU {pcpu} does not exist", status=404)
        if self.cpus[pcpu].clock_group == 4:
            raise ControlError(
                "clock group 4 is claimed by another daemon",
                status=409,
                hint="stop the other one",
            )
        self.callers.append(who)
        group = self.cpus[pcpu].clock_group
        for one in self.cpus.values():
            if one.clock_group == group:
                told = {"override_khz": khz, "grant_khz": khz, "claimed": bool(khz)}
                told["current_khz"] = khz or one.current_khz
                self.cpus[one.pcpu] = one.model_copy(update=told)
        self.tell("operator", f"clock group {group} set to {khz} kHz")
        return self.cpus[pcpu]

    async def switch_channel(
        self, uuid: DomainId, number: int, *, is_enabled: bool, who: Peer
    ) -> Channel:
        if uuid not in self.domains:
            raise ControlError(f"no domain {uuid}", status=404)
        domain = self.domains[uuid]
        state = ChannelState.OPEN if is_enabled else ChannelState.DISABLED
        told = {"enabled": is_enabled, "state": state}
        channels = tuple(
            one.model_copy(update=told) if one.number == number else one
            for one in domain.channels
        )
        self.callers.append(who)
        self.domains[uuid] = domain.model_copy(update={"channels": channels})
        return next(one for one in channels if one.number == number)

    async def set_policy(
        self, uuid: DomainId, name: str, rule: PolicyRule, *, who: Peer
    ) -> Policy:
        domain = self.domains[uuid]
        if domain.state is DomainState.SHUTOFF:
            raise ControlError("policy not set: the domain does not run", status=409)
        vcpus = None if rule.vcpus is None else parse_cpulist(rule.vcpus)
        policy = Policy(
            source=SourceKind.OPERATOR,
            name=name,
            channel=None,
            kind=rule.kind,
            text=format_policy(rule),
            wants=tuple(
                PolicyWant(vcpu=one.vcpu, khz=STEPS[-1])
                for one in domain.vcpus
                if one.controllable and (vcpus is None or one.vcpu in vcpus)
            ),
            problem=None,
        )
        self.callers.append(who)
        others = tuple(one for one in domain.policies if one.name != name)
        self._keep_policies(domain, (*others, policy))
        return policy

    async def remove_policy(self, uuid: DomainId, name: str, *, who: Peer) -> Domain:
        domain = self.domains[uuid]
        left = tuple(one for one in domain.policies if one.name != name)
        if left == domain.policies:
            raise ControlError(f"no policy '{name}'", status=404)
        self.callers.append(who)
        return self._keep_policies(domain, left)

    def _keep_policies(self, domain: Domain, policies: tuple[Policy, ...]) -> Domain:
        changed = domain.model_copy(update={"policies": policies})
        self.domains[domain.uuid] = changed
        return changed

    async def instruct(self, text: str, cpu: int | None, *, who: Peer) -> OutcomeList:
        outcomes = []
        for message in MessageSplitter().feed(text.encode()):
            try:
                if isinstance(message, ConfigError):
                    raise message
                told = parse_instruction(message, cpu=cpu).command.upper()
                outcomes.append(Outcome(text=told, done=True))
            except ConfigError as error:
                outcomes.append(Outcome(text=f"refused: {error}", done=False))
        self.callers.append(who)
        return OutcomeList(outcomes=tuple(outcomes))

    def events(
        self, *, follow: bool, clocks: bool = True
    ) -> AsyncGenerator[EventRecord, None]:
        return self.feed.read(follow=follow, clocks=clocks)


@contextmanager
def serving(run_dir: Path) -> Iterator[FakeDaemon]:
    """Serve a little daemon from a thread, so that a test may block."""
    started = threading.Event()
    served: list[FakeDaemon] = []
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        daemon, stop = FakeDaemon(), asyncio.Event()
        server = ControlServer(daemon, run_dir)
        await server.start()
        served.append(daemon)
        stops.append((asyncio.get_running_loop(), stop))
        started.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        if not started.wait(10):
            raise TimeoutError("the little daemon did not start")
        yield served[0]
    finally:
        for loop, stop in stops:
            loop.call_soon_threadsafe(stop.set)
        thread.join(10)
