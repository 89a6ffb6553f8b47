"""How each call of the table is answered from the backend."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.control import calls
from orchestrator.control.models import (
    ChannelList,
    ClockRequest,
    CpuList,
    Document,
    DomainChannel,
    DomainList,
    EnabledRequest,
    InstructionRequest,
    PolicyList,
    PolicyOfDomain,
    PolicyRequest,
)
from orchestrator.errors import ConfigError, ControlError
from orchestrator.policy.text import parse_policies
from orchestrator.values.domain import DomainId, PCpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.control.calls import Call, Parameter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orchestrator.control.models import Cpu, Domain, Status
    from orchestrator.control.service import ControlBackend, Peer

    Answer = Callable[["Question"], Awaitable[Document]]


_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call with everything that came along, checked."""

    backend: ControlBackend
    who: Peer
    parameters: Mapping[str, str | int | bool]
    body: Document | None = None

    def number(self, name: str) -> int:
        """Return an integer parameter."""
        return int(self.parameters[name])


async def _status(question: Question) -> Document:
    return await question.backend.status()


async def _domains(question: Question) -> Document:
    status = await question.backend.status()
    return DomainList(domains=status.domains)


async def _domain(question: Question) -> Document:
    return await _find_domain(question)


async def _channels(question: Question) -> Document:
    status, channels = await question.backend.status(), list[DomainChannel]()
    for domain in status.domains:
        channels += (
            DomainChannel(domain=domain.name, uuid=domain.uuid, **dict(channel))
            for channel in domain.channels
        )
        await asyncio.sleep(0)  # a thousand cost 10 ms
    return ChannelList(channels=tuple(channels))


async def _cpus(question: Question) -> Document:
    status = await question.backend.status()
    return CpuList(cpus=status.cpus, unmanaged_cpus=status.unmanaged_cpus)


async def _cpu(question: Question) -> Document:
    return await _find_cpu(question)


async def _override(question: Question) -> Document:
    if not isinstance(question.body, ClockRequest):
        raise TypeError(f"the table gave {question.body!r} to a clock's override")
    pcpu = PCpu((await _find_cpu(question)).pcpu)
    return await question.backend.override(pcpu, question.body.khz, who=question.who)


async def _release(question: Question) -> Document:
    pcpu = PCpu((await _find_cpu(question)).pcpu)
    return await question.backend.release(pcpu, who=question.who)


async def _switch_channel(question: Question) -> Document:
    if not isinstance(question.body, EnabledRequest):
        raise TypeError(f"the table gave {question.body!r} to a channel's switch")
    domain, number = await _find_domain(question), question.number("number")
    if number not in (channel.number for channel in domain.channels):
        raise ControlError(
            f"domain '{domain.name}' has no channel {number}",
            status=404,
            hint="'vmpower channel list' shows those that there are",
        )
    return await question.backend.switch_channel(
        DomainId(domain.uuid),
        number,
        is_enabled=question.body.enabled,
        who=question.who,
    )


async def _policies(question: Question) -> Document:
    status = await question.backend.status()
    return PolicyList(
        policies=tuple(
            PolicyOfDomain(domain=domain.name, uuid=domain.uuid, **dict(policy))
            for domain in status.domains
            for policy in domain.policies
        )
    )


async def _set_policy(question: Question) -> Document:
    if not isinstance(question.body, PolicyRequest):
        raise TypeError(f"the table gave {question.body!r} to a policy")
    uuid = DomainId((await _find_domain(question)).uuid)
    name = _policy_name(question)
    try:
        rules = parse_policies(question.body.text, match=uuid)
    except ConfigError as error:
        raise ControlError(str(error), status=422, hint=error.hint) from error
    if len(rules) != 1:
        raise ControlError(f"{len(rules)} policies", status=422, hint="give one")
    return await question.backend.set_policy(uuid, name, rules[0], who=question.who)


async def _remove_policy(question: Question) -> Document:
    uuid = DomainId((await _find_domain(question)).uuid)
    name = _policy_name(question)
    return await question.backend.remove_policy(uuid, name, who=question.who)


async def _instruct(question: Question) -> Document:
    if not isinstance(question.body, InstructionRequest):
        raise TypeError(f"the table gave {question.body!r} to instructions")
    body = question.body
    return await question.backend.instruct(body.text, body.cpu, who=question.who)


def _policy_name(question: Question) -> str:
    name = str(question.parameters["name"])
    if not _NAME.fullmatch(name):
        raise ControlError(
            f"'{name[:80]}' is no name of a policy",
            status=400,
            hint="use up to 64 letters, digits, '.', '_' and '-'",
        )
    return name


async def _find_domain(question: Question) -> Domain:
    """Look a domain up in virsh's order: id, UUID, name."""
    wanted = str(question.parameters["domain"])
    domains = (await question.backend.status()).domains
    found = (
        [d for d in domains if wanted.isdecimal() and str(d.id) == wanted]
        or [d for d in domains if d.uuid == wanted.lower()]
        or [d for d in domains if d.name == wanted]
    )
    if not found:
        raise ControlError(
            f"no domain '{wanted}'",
            status=404,
            hint="'vmpower domain list' shows those that there are",
        )
    return found[0]


async def _find_cpu(question: Question) -> Cpu:
    status, pcpu = await question.backend.status(), question.number("pcpu")
    for cpu in status.cpus:
        if cpu.pcpu == pcpu:
            return cpu
    raise ControlError(
        f"CPU {pcpu} {_why_unmanaged(status, pcpu)}",
        status=404,
        hint="'vmpower cpu list' shows those that can be set",
    )


def _why_unmanaged(status: Status, pcpu: int) -> str:
    for cpu in status.unmanaged_cpus:
        if cpu.pcpu == pcpu:
            return f"cannot be set: {cpu.reason}"
    return "does not exist"


ANSWERS: Mapping[calls.Call[Any], Answer] = {
    calls.STATUS: _status,
    calls.DOMAINS: _domains,
    calls.SHOW_DOMAIN: _domain,
    calls.CHANNELS: _channels,
    calls.CPUS: _cpus,
    calls.SHOW_CPU: _cpu,
    calls.OVERRIDE: _override,
    calls.RELEASE: _release,
    calls.SWITCH_CHANNEL: _switch_channel,
    calls.POLICIES: _policies,
    calls.SET_POLICY: _set_policy,
    calls.REMOVE_POLICY: _remove_policy,
    calls.INSTRUCT: _instruct,
}
"""Every call that is not a stream; a test holds this against the table."""


MAX_DIGITS = 9
"""No number in a path has more; Python reads huge ones slowly."""


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read_parameters(
    call: Call[Any], path: Mapping[str, str], query: Mapping[str, str]
) -> dict[str, str | int | bool]:
    """Check and convert what came with a call.

    Raises:
        ControlError: 400, a parameter is unknown or has a value that it cannot have.
    """
    known = {parameter.name for parameter in call.parameters if parameter.is_query}
    for name in query:
        if name not in known:
            raise ControlError(f"unknown parameter '{name}'", status=400)
    return {
        parameter.name: _convert(parameter, source[parameter.name])
        for parameter in call.parameters
        for source in [query if parameter.is_query else path]
        if parameter.name in source
    }


def _convert(parameter: Parameter, text: str) -> str | int | bool:
    if parameter.kind is bool:
        if text not in _BOOLEANS:
            raise ControlError(
                f"{parameter.name}: '{text}' is neither true nor false", status=400
            )
        return _BOOLEANS[text]
    if parameter.kind is int:
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
            raise ControlError(f"{parameter.name}: '{text}' is no number", status=400)
        return int(text)
    return text
