"""The one table of calls, from which routes, client and OpenAPI document come.

A call names the documents that it takes and gives; `models.py` has the model of the
same name. Nothing heavy is imported, because the command uses this table too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from orchestrator.control import documents

AnswerT = TypeVar("AnswerT")

CONTROL_SOCKET: Final = "vmpower.sock"
"""Socket in the run directory that takes every call."""
READ_ONLY_SOCKET: Final = "vmpower-ro.sock"
"""Socket in the run directory for everybody on the host: only calls that read."""
BODY_LIMIT_BYTES: Final = 64 * 1024
"""The largest request body; the largest that means anything has about 20 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One value in a call's path or query."""

    name: str
    doc: str
    kind: type[str | int | bool] = str
    is_query: bool = False
    """Query parameters may be left out; those of the path may not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call(Generic[AnswerT]):
    """One thing that can be asked of the daemon."""

    name: str
    method: str
    path: str
    """With `{name}` for each parameter of the path."""
    doc: str
    """First sentence: what it does. Shown in the OpenAPI document."""
    answer: type[AnswerT]
    request: type[Any] | None = None
    parameters: tuple[Parameter, ...] = ()
    is_stream: bool = False
    """Whether the answer is one document per line, not known to end (NDJSON)."""
    errors: tuple[int, ...] = ()
    """HTTP statuses of failures that belong to this call."""

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing, so that anybody on the host may do it."""
        return self.method == "GET"


DOMAIN = Parameter(name="domain", doc="UUID, name or libvirt's id of a domain.")
NUMBER = Parameter(name="number", kind=int, doc="N of ...poweragent.N.")
NAME = Parameter(
    name="name", doc="Name of a policy: up to 64 letters, digits, `.`, `_` and `-`."
)
PCPU = Parameter(name="pcpu", kind=int, doc="Number of a host CPU.")
FOLLOW = Parameter(
    name="follow", kind=bool, is_query=True, doc="Go on with what happens from now on."
)
CLOCKS = Parameter(
    name="clocks",
    kind=bool,
    is_query=True,
    doc="Whether to tell when a clock changes, up to four times a second; the default.",
)

STATUS: Final = Call(
    name="status",
    method="GET",
    path="/v1/status",
    doc="Tell everything at once: the daemon, libvirt, domains and CPUs.",
    answer=documents.Status,
)
DOMAINS: Final = Call(
    name="domains",
    method="GET",
    path="/v1/domains",
    doc="List all domains.",
    answer=documents.DomainList,
)
SHOW_DOMAIN: Final = Call(
    name="domain",
    method="GET",
    path="/v1/domains/{domain}",
    doc="Show one domain.",
    answer=documents.Domain,
    parameters=(DOMAIN,),
    errors=(404,),
)
CHANNELS: Final = Call(
    name="channels",
    method="GET",
    path="/v1/channels",
    doc="List all channels of all domains.",
    answer=documents.ChannelList,
)
CPUS: Final = Call(
    name="cpus",
    method="GET",
    path="/v1/cpus",
    doc="List all host CPUs.",
    answer=documents.CpuList,
)
SHOW_CPU: Final = Call(
    name="cpu",
    method="GET",
    path="/v1/cpus/{pcpu}",
    doc="Show one host CPU.",
    answer=documents.Cpu,
    parameters=(PCPU,),
    errors=(404,),
)
OVERRIDE: Final = Call(
    name="override",
    method="PUT",
    path="/v1/cpus/{pcpu}/clock",
    doc="Fix the clock of the CPU's whole clock group, until it is released or the "
    "daemon ends. It is clamped by the host's bounds only.",
    answer=documents.Cpu,
    request=documents.ClockRequest,
    parameters=(PCPU,),
    errors=(404, 409),
)
RELEASE: Final = Call(
    name="release",
    method="DELETE",
    path="/v1/cpus/{pcpu}/clock",
    doc="Give the clock of the CPU's whole clock group back to the guests' votes.",
    answer=documents.Cpu,
    parameters=(PCPU,),
    errors=(404, 409),
)
SWITCH_CHANNEL: Final = Call(
    name="switch_channel",
    method="PUT",
    path="/v1/domains/{domain}/channels/{number}/enabled",
    doc="Enable or disable a channel. A disabled one has no vote, and its requests "
    "are refused.",
    answer=documents.Channel,
    request=documents.EnabledRequest,
    parameters=(DOMAIN, NUMBER),
    errors=(404, 409),
)
POLICIES: Final = Call(
    name="policies",
    method="GET",
    path="/v1/policies",
    doc="List the policies that are in force for all domains.",
    answer=documents.PolicyList,
)
SET_POLICY: Final = Call(
    name="set_policy",
    method="PUT",
    path="/v1/domains/{domain}/policies/{name}",
    doc="Give a running domain a policy, in place of the one of this name. It stands "
    "above the policies of the configuration and of the domain's metadata, and ends "
    "with the domain.",
    answer=documents.Policy,
    request=documents.PolicyRequest,
    parameters=(DOMAIN, NAME),
    errors=(404, 409),
)
REMOVE_POLICY: Final = Call(
    name="remove_policy",
    method="DELETE",
    path="/v1/domains/{domain}/policies/{name}",
    doc="End a policy that was given over this API.",
    answer=documents.Domain,
    parameters=(DOMAIN, NAME),
    errors=(404,),
)
INSTRUCT: Final = Call(
    name="instruct",
    method="POST",
    path="/v1/instructions",
    doc="Do what messages for DPDK's vm_power_manager ask for; each has its outcome in "
    "the answer.",
    answer=documents.OutcomeList,
    request=documents.InstructionRequest,
)
EVENTS: Final = Call(
    name="events",
    method="GET",
    path="/v1/events",
    doc="Stream events, one JSON document per line: first the recent ones.",
    answer=documents.EventRecord,
    parameters=(FOLLOW, CLOCKS),
    is_stream=True,
    errors=(503,),
)

CALLS: Final[tuple[Call[Any], ...]] = (
    STATUS,
    DOMAINS,
    SHOW_DOMAIN,
    CHANNELS,
    CPUS,
    SHOW_CPU,
    OVERRIDE,
    RELEASE,
    SWITCH_CHANNEL,
    POLICIES,
    SET_POLICY,
    REMOVE_POLICY,
    INSTRUCT,
    EVENTS,
)
OPENAPI_PATH: Final = "/openapi.json"
"""The description of all calls, on both sockets."""
