# SPDX-License-Identifier: Apache-2.0
"""Whatever crosses between them, both sides of a clock group agree in the end."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from orchestrator import events as e
from orchestrator.channel.protocol import Request, Unit, encode
from orchestrator.config import DriftResponse
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.values.domain import PCpu
from tests.monitor.both_sides import STEPS_KHZ, BothSides
from tests.monitor.in_process_monitor import ack
from tests.properties import examples

CPU = st.integers(0, 1)
UNITS = st.sampled_from([Unit.SCALE_MIN, Unit.SCALE_MAX, Unit.SCALE_DOWN])


class BothSidesMachine(RuleBasedStateMachine):
    """Requests, CPUs, deaths and time, and their effects, one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.sides = BothSides(Path(self._directory.name))

    def teardown(self) -> None:
        self.sides.close()
        self._directory.cleanup()

    @initialize(is_idle=st.booleans())
    def begin(self, *, is_idle: bool) -> None:
        if is_idle:
            self.sides.run_until_idle()

    # What happens on the host

    @rule(vcpu=CPU, unit=UNITS)
    def request(self, vcpu: int, unit: Unit) -> None:
        self.sides.request(encode(Request(vcpu, unit)))

    @rule(vcpu=CPU, step=st.integers(0, 3))
    def request_step(self, vcpu: int, step: int) -> None:
        self.sides.request_step(vcpu, step)

    @rule(cpu=CPU)
    def take_offline(self, cpu: int) -> None:
        self.sides.take_offline(cpu)

    @rule(cpu=CPU)
    def bring_online(self, cpu: int) -> None:
        if not self.sides.is_online(cpu):
            self.sides.bring_online(cpu)

    @rule(
        cpu=CPU,
        setting=st.sampled_from(
            [("scaling_governor", "performance"), ("scaling_setspeed", "2000000")]
        ),
    )
    def interfere(self, cpu: int, setting: tuple[str, str]) -> None:
        self.sides.interfere(cpu, *setting)

    @rule()
    def verify(self) -> None:
        self.sides.verify()

    @rule(cpu=CPU)
    def retake(self, cpu: int) -> None:
        self.sides.react(e.GroupRetaken(cpu))

    @rule(cpus=st.none() | st.frozensets(CPU.map(PCpu)))
    def notify_of_cpus(self, cpus: frozenset[PCpu] | None) -> None:
        self.sides.react(e.CpusSwitched(cpus))

    @rule(response=st.sampled_from(DriftResponse))
    def configure(self, response: DriftResponse) -> None:
        power = replace(self.sides.inventory.config.power, drift=response)
        config = replace(self.sides.inventory.config, power=power)
        self.sides.react(e.ConfigReloaded(config))

    @rule()
    def resync(self) -> None:
        self.sides.react(e.ResyncDue())

    @rule(seconds=st.integers(1, 2))
    def pass_time(self, seconds: int) -> None:
        self.sides.pass_time(seconds)

    @rule()
    def restart_domain(self) -> None:
        self.sides.restart_domain()

    @rule(vcpu=CPU, is_core=st.booleans())
    def pin(self, vcpu: int, *, is_core: bool) -> None:
        self.sides.pin(vcpu, *((0, 1) if is_core else (vcpu,)))

    @rule(cpus=st.sampled_from([(), (2,), (0,), (0, 1), (1, 2)]))
    def pin_emulator(self, cpus: tuple[int, ...]) -> None:
        self.sides.pin_emulator(frozenset(cpus))

    @rule()
    def reboot(self) -> None:
        self.sides.react(e.DomainRebooted(self.sides.spec.uuid))

    @rule(cpu=st.integers(0, 2), khz=st.sampled_from([None, 1_200_000, 2_000_000]))
    def override(self, cpu: int, khz: int | None) -> None:
        if cpu in self.sides.inventory.groups:
            self.sides.react(
                e.OverrideReleased(cpu) if khz is None else e.OverrideSet(cpu, khz)
            )

    @rule()
    def kill_monitor(self) -> None:
        self.sides.kill_monitor()

    # What is in progress

    @precondition(lambda self: self.sides.is_start_due)
    @rule()
    def start_monitor(self) -> None:
        self.sides.start_monitor()

    @precondition(lambda self: self.sides.commands)
    @rule(count=st.integers(1, 4))
    def apply(self, count: int) -> None:
        for _ in range(min(count, len(self.sides.commands))):
            self.sides.apply()

    @precondition(lambda self: self.sides.reports)
    @rule()
    def receive_report(self) -> None:
        self.sides.receive_report()

    @precondition(lambda self: self.sides.drifts)
    @rule()
    def receive_drift(self) -> None:
        self.sides.receive_drift()

    @precondition(lambda self: self.sides.work)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.sides.finish(data.draw(st.integers(0, len(self.sides.work) - 1)))

    @precondition(lambda self: self.sides.topologies)
    @rule()
    def notice(self) -> None:
        self.sides.notice()

    @rule()
    def serve(self) -> None:
        self.sides.serve()

    # What must be true

    @rule()
    def agree(self) -> None:
        self.sides.run_until_idle()
        self.sides.check()

    @rule(vcpu=CPU, step=st.integers(0, 3))
    def obey(self, vcpu: int, step: int) -> None:
        """The frequency is not below what a P-state channel requested last."""
        self.agree()
        for _ in range(2):  # as in `acknowledge`
            self.sides.pass_time(2)
            self.sides.request_step(vcpu, step)
            self.agree()
        for cpu in filter(self.sides.is_online, self.sides.pinnings[vcpu]):
            record = self.sides.inventory.groups[cpu]
            if record.stage is not GroupStage.DRIFTED and record.override_khz is None:
                assert record.stage is GroupStage.TAKEN
                setspeed = self.sides.policy(cpu, "scaling_setspeed")
                khz = self.sides.tree.read_khz(setspeed)
                assert khz is not None
                assert khz >= STEPS_KHZ[step]

    @rule(vcpu=CPU)
    def acknowledge(self, vcpu: int) -> None:
        """A request that is acknowledged is in effect."""
        self.agree()
        self.sides.answers()
        # The first answer may be late, because its group has to be taken. If that
        # failed, requests are refused for a second.
        for _ in range(2):
            self.sides.pass_time(2)
            self.sides.request_step(vcpu, 3)  # or the higher request counts
            self.sides.request(encode(Request(vcpu, Unit.SCALE_MIN)))
            self.agree()
        answers = self.sides.answers()
        cpus = [cpu for cpu in self.sides.pinnings[vcpu] if self.sides.is_online(cpu)]
        records = [self.sides.inventory.groups[cpu] for cpu in cpus]
        if not cpus or any(record.stage is GroupStage.DRIFTED for record in records):
            assert ack(vcpu, Unit.SCALE_MIN) not in answers
        elif all(record.override_khz is None for record in records):
            assert answers.endswith(ack(vcpu, Unit.SCALE_MIN))
            assert {record.stage for record in records} == {GroupStage.TAKEN}
            others = self.sides.pinnings[1 - vcpu]
            (domain,) = self.sides.inventory.domains.values()
            following = domain.following()
            for cpu in following:
                record = self.sides.inventory.groups[cpu]
                is_lost = record.stage is GroupStage.DRIFTED
                if self.sides.is_online(cpu) and not is_lost:
                    assert record.stage is GroupStage.TAKEN
            for cpu in set(cpus) - {*others, *following}:
                setspeed = self.sides.policy(cpu, "scaling_setspeed")
                assert self.sides.tree.read_khz(setspeed) == 1_200_000


TestBothSides = BothSidesMachine.TestCase
TestBothSides.settings = settings(
    max_examples=examples(60),
    stateful_step_count=40,
    deadline=None,
)
