# SPDX-License-Identifier: Apache-2.0
"""The table of all calls of the control API, each with its handler.

A handler finds what a call is about in the daemon's status, so that the daemon gets
domains by UUID and only channels and CPUs that exist; then it calls the daemon.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from orchestrator.control.feed import EventSelection
from orchestrator.control.models import (
    CalibrationRequest,
    Channel,
    ChannelList,
    ClockRequest,
    Cpu,
    CpuList,
    Domain,
    DomainChannel,
    DomainList,
    EnabledRequest,
    Energy,
    EventRecord,
    History,
    InstructionRequest,
    OutcomeList,
    PolicyAnswer,
    PolicyList,
    PolicyOfDomain,
    PolicyRequest,
    Status,
)
from orchestrator.control.parameters import Parameter
from orchestrator.control.service import HistorySelection
from orchestrator.control.table import ApiRequest, CallTable
from orchestrator.errors import ConfigError, ControlError
from orchestrator.policy.subject import NAME_FORM, is_name
from orchestrator.policy.text import parse_policies
from orchestrator.values.domain import DomainId, PCpu
from orchestrator.values.event_kinds import EVENT_KINDS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

CALLS: Final = CallTable(
    (
        Parameter(name="domain", doc="UUID, name or libvirt's ID of a domain."),
        Parameter(name="number", kind=int, doc="N of virtio.serial.port.poweragent.N."),
        Parameter(name="name", doc=f"Name of a policy: {NAME_FORM}."),
        Parameter(name="pcpu", kind=int, doc="Number of a host CPU."),
    )
)
_FOLLOW: Final = Parameter(
    name="follow", kind=bool, default=False, doc="Continue with events as they happen."
)
_CLOCKS: Final = Parameter(
    name="clocks",
    kind=bool,
    default=True,
    doc="Include frequency changes, up to four per second and clock group.",
)
_AFTER: Final = Parameter(
    name="after", kind=int, default=0, doc="Only events with a higher ID than this one."
)
_LAST: Final = Parameter(
    name="last",
    kind=int,
    default=0,
    doc="Of the recorded events, only so many of the latest; 0: all.",
)
_DOMAIN: Final = Parameter(
    name="domain", default="", doc="Only events about this domain: UUID, name or ID."
)
_KIND: Final = Parameter(
    name="kind", default="", doc="Only events of these kinds, separated by commas."
)
_SINCE: Final = Parameter(
    name="since", default="", doc="Only events from this time on: ISO 8601 with a zone."
)
_UNTIL: Final = Parameter(
    name="until", default="", doc="Only events up to this time; not with `follow`."
)


_HISTORY_SINCE: Final = Parameter(
    name="since",
    default="",
    doc="Beginning: ISO 8601 with a zone; empty: a day before the end.",
)
_HISTORY_UNTIL: Final = Parameter(
    name="until", default="", doc="End: ISO 8601 with a zone; empty: now."
)
_STEP: Final = Parameter(
    name="step", kind=int, default=0, doc="Seconds of each part; 0: one part."
)
_OF_DOMAIN: Final = Parameter(
    name="domain", default="", doc="Only this domain: UUID, name or ID."
)
_PER_DOMAIN: Final = Parameter(
    name="per_domain",
    kind=bool,
    default=True,
    doc="Each domain by itself; false: the sums of all, without UUID and name.",
)
_MAX_PARTS = 10_000
"""Of one answer; a week in minutes."""


@CALLS.get("/v1/status", answer=Status)
async def status(request: ApiRequest[None]) -> Status:
    """Show everything: the daemon, libvirt, all domains and all host CPUs."""
    return await request.backend.status()


@CALLS.get("/v1/domains", answer=DomainList)
async def domains(request: ApiRequest[None]) -> DomainList:
    """List all domains."""
    found = await request.backend.status()
    return DomainList(domains=found.domains)


@CALLS.get("/v1/domains/{domain}", answer=Domain, errors=(404,))
async def domain(request: ApiRequest[None]) -> Domain:
    """Show one domain."""
    return await _find_domain(request)


@CALLS.get("/v1/channels", answer=ChannelList)
async def channels(request: ApiRequest[None]) -> ChannelList:
    """List the channels of all domains."""
    found = await request.backend.status()
    listed = list[DomainChannel]()
    for one in found.domains:
        listed += (
            DomainChannel(domain=one.name, uuid=one.uuid, **dict(channel))
            for channel in one.channels
        )
        await asyncio.sleep(0)  # a thousand channels take 10 ms
    return ChannelList(channels=tuple(listed))


@CALLS.get("/v1/cpus", answer=CpuList)
async def cpus(request: ApiRequest[None]) -> CpuList:
    """List all host CPUs."""
    found = await request.backend.status()
    return CpuList(cpus=found.cpus, unmanaged_cpus=found.unmanaged_cpus)


@CALLS.get("/v1/cpus/{pcpu}", answer=Cpu, errors=(404,))
async def cpu(request: ApiRequest[None]) -> Cpu:
    """Show one host CPU."""
    return await _find_cpu(request)


@CALLS.put("/v1/cpus/{pcpu}/clock", answer=Cpu, body=ClockRequest, errors=(404, 409))
async def override(request: ApiRequest[ClockRequest]) -> Cpu:
    """Set the frequency of a CPU's clock group until it is released.

    It replaces the votes of guests and policies, is limited by the host's bounds only,
    and outlives restarts of the daemon, until the host is booted.
    """
    pcpu = PCpu((await _find_cpu(request)).pcpu)
    return await request.backend.override(pcpu, request.body.khz, who=request.who)


@CALLS.delete("/v1/cpus/{pcpu}/clock", answer=Cpu, errors=(404, 409))
async def release(request: ApiRequest[None]) -> Cpu:
    """Release the frequency of a CPU's clock group to its votes.

    Without an override this does nothing.
    """
    pcpu = PCpu((await _find_cpu(request)).pcpu)
    return await request.backend.release(pcpu, who=request.who)


@CALLS.delete("/v1/cpus/{pcpu}/drift", answer=Cpu, errors=(404, 409))
async def retake(request: ApiRequest[None]) -> Cpu:
    """Take a CPU's clock group back from another program that changed it.

    Without such a change this does nothing.
    """
    pcpu = PCpu((await _find_cpu(request)).pcpu)
    return await request.backend.retake(pcpu, who=request.who)


@CALLS.put(
    "/v1/domains/{domain}/channels/{number}/enabled",
    answer=Channel,
    body=EnabledRequest,
    errors=(404, 409),
)
async def switch_channel(request: ApiRequest[EnabledRequest]) -> Channel:
    """Enable or disable a channel.

    A disabled channel has no vote, and its requests are answered NACK. It stays
    disabled over restarts of the domain and of the daemon, until the host is booted.
    """
    found, number = await _find_domain(request), request.number("number")
    if number not in (channel.number for channel in found.channels):
        raise ControlError(
            f"domain '{found.name}' has no channel {number}",
            status=404,
            hint="'vmpower channel list' shows all channels",
        )
    return await request.backend.switch_channel(
        DomainId(found.uuid),
        number,
        is_enabled=request.body.enabled,
        who=request.who,
    )


@CALLS.get("/v1/policies", answer=PolicyList)
async def policies(request: ApiRequest[None]) -> PolicyList:
    """List the policies in force for all domains."""
    found = await request.backend.status()
    return PolicyList(
        policies=tuple(
            PolicyOfDomain(domain=one.name, uuid=one.uuid, **dict(policy))
            for one in found.domains
            for policy in one.policies
        )
    )


@CALLS.put(
    "/v1/domains/{domain}/policies/{name}",
    answer=PolicyAnswer,
    body=PolicyRequest,
    errors=(404, 409),
)
async def set_policy(request: ApiRequest[PolicyRequest]) -> PolicyAnswer:
    """Set a policy for a running domain, replacing the one of this name.

    It takes precedence over the policies of the configuration and of the domain's
    metadata, outlives restarts of the daemon, and ends when the domain is shut off. A
    policy for what the domain does not have is refused; what else keeps it from taking
    effect now is in the answer's `warnings`.
    """
    uuid = DomainId((await _find_domain(request)).uuid)
    name = _policy_name(request)
    try:
        rules = parse_policies(request.body.text, match=uuid)
    except ConfigError as error:
        raise ControlError(str(error), status=422, hint=error.hint) from error
    if len(rules) != 1:
        raise ControlError(
            f"invalid text: expected one policy, not {len(rules)}", status=422
        )
    return await request.backend.set_policy(uuid, name, rules[0], who=request.who)


@CALLS.delete("/v1/domains/{domain}/policies/{name}", answer=Domain, errors=(404,))
async def remove_policy(request: ApiRequest[None]) -> Domain:
    """Remove a policy that was set through this API."""
    uuid = DomainId((await _find_domain(request)).uuid)
    name = _policy_name(request)
    return await request.backend.remove_policy(uuid, name, who=request.who)


@CALLS.get("/v1/energy", answer=Energy)
async def energy(request: ApiRequest[None]) -> Energy:
    """Show what the host and its domains draw, and what they save."""
    return await request.backend.energy()


@CALLS.put(
    "/v1/energy/calibration", answer=Energy, body=CalibrationRequest, errors=(409,)
)
async def calibrate(request: ApiRequest[CalibrationRequest]) -> Energy:
    """Use static powers and a power curve that were measured on this host.

    They replace those of the processor's class, and are kept for these processors.
    """
    return await request.backend.calibrate(request.body, who=request.who)


@CALLS.post("/v1/instructions", answer=OutcomeList, body=InstructionRequest)
async def instruct(request: ApiRequest[InstructionRequest]) -> OutcomeList:
    """Execute JSON messages in the format of DPDK's vm_power_manager.

    The answer reports the result of each message.
    """
    body = request.body
    return await request.backend.instruct(body.text, body.cpu, who=request.who)


@CALLS.stream(
    "/v1/events",
    query=(_FOLLOW, _CLOCKS, _AFTER, _LAST, _DOMAIN, _KIND, _SINCE, _UNTIL),
)
def events(request: ApiRequest[None]) -> AsyncGenerator[EventRecord, None]:
    """Stream events, one JSON document per line, starting with those recorded.

    The daemon records the latest events, also over its restarts. A reader continues
    with `after`, the ID of the last event that it got; if events in between are not
    recorded any more, the first one is of the kind `missed`.
    """
    kinds = frozenset(filter(None, request.text("kind").split(",")))
    if unknown := sorted(kinds - EVENT_KINDS.keys()):
        raise ControlError(
            f"invalid kind '{unknown[0][:80]}': expected {', '.join(EVENT_KINDS)}",
            status=400,
        )
    until = _time(request, "until")
    if until and request.flag("follow"):
        raise ControlError("follow and until exclude each other", status=400)
    selection = EventSelection(
        follow=request.flag("follow"),
        clocks=request.flag("clocks"),
        after=request.number("after"),
        last=request.number("last"),
        domain=request.text("domain"),
        kinds=kinds,
        since=_time(request, "since"),
        until=until,
    )
    return request.backend.events(selection)


@CALLS.get(
    "/v1/history",
    answer=History,
    errors=(404, 409),
    query=(_HISTORY_SINCE, _HISTORY_UNTIL, _STEP, _OF_DOMAIN, _PER_DOMAIN),
)
async def history(request: ApiRequest[None]) -> History:
    """Show what domains did in a time, also those that are gone.

    An answer has at most 10,000 parts, and as many rows of domains. The daemon writes
    its history once a minute, so the last minute is missing. Times that are older than
    two days are known by the hour.
    """
    until = _time(request, "until") or datetime.now(UTC)
    since = _time(request, "since") or until - timedelta(days=1)
    length_s = math.ceil((until - since).total_seconds())
    if length_s <= 0:
        raise ControlError("since must be before until", status=400)
    step_s = request.number("step") or length_s
    if length_s > step_s * _MAX_PARTS:
        raise ControlError(
            f"too many parts: {length_s // step_s}, at most {_MAX_PARTS}", status=400
        )
    selection = HistorySelection(
        since=since,
        until=until,
        step_s=step_s,
        domain=request.text("domain"),
        is_per_domain=request.flag("per_domain"),
    )
    return await request.backend.history(selection)


async def _find_domain(request: ApiRequest[Any]) -> Domain:
    """Find a domain in virsh's order: ID, UUID, name."""
    wanted = request.text("domain")
    known = (await request.backend.status()).domains
    found = (
        [one for one in known if wanted.isdecimal() and str(one.id) == wanted]
        or [one for one in known if one.uuid == wanted.lower()]
        or [one for one in known if one.name == wanted]
    )
    if not found:
        raise ControlError(
            f"no such domain: '{wanted}'",
            status=404,
            hint="'vmpower domain list' shows all domains",
        )
    return found[0]


async def _find_cpu(request: ApiRequest[Any]) -> Cpu:
    found, pcpu = await request.backend.status(), request.number("pcpu")
    for one in found.cpus:
        if one.pcpu == pcpu:
            return one
    reasons = {one.pcpu: one.reason for one in found.unmanaged_cpus}
    raise ControlError(
        f"CPU {pcpu} cannot be set: {reasons[pcpu]}"
        if pcpu in reasons
        else f"no such CPU: {pcpu}",
        status=404,
        hint="'vmpower cpu list' shows the CPUs that can be set",
    )


def _time(request: ApiRequest[Any], name: str) -> datetime | None:
    text = request.text(name)
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ControlError(
            f"invalid {name} '{text[:80]}': expected ISO 8601 with a time zone, "
            "as in 2026-03-01T12:00:00Z",
            status=400,
        )
    return time


def _policy_name(request: ApiRequest[Any]) -> str:
    name = request.text("name")
    if not is_name(name):
        raise ControlError(
            f"invalid policy name '{name[:80]}': expected {NAME_FORM}", status=400
        )
    return name
