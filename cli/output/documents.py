# SPDX-License-Identifier: Apache-2.0
"""The JSON documents that commands print, by command.

Those of the daemon are in `orchestrator.control.documents`; what commands print beyond
them is here, in `doctor_documents` and in `report_documents`, as types: the reference
(docs/json.md) is made of them, and a test compares them with what each command prints.
`print_json` adds `schema` to each document.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from cli.output.doctor_documents import Diagnosis
from cli.output.report_documents import AdviceList, Report
from orchestrator.control.documents import (
    Channel,
    ChannelList,
    Cpu,
    CpuList,
    Domain,
    DomainList,
    Energy,
    EventRecord,
    OutcomeList,
    Policy,
    PolicyAnswer,
    PolicyChange,
    PolicyList,
    Status,
)
from orchestrator.values.domain_settings import (
    DomainSettings,  # noqa: TC001 - the reference resolves annotations
)


class CpuSelection(TypedDict):
    """The CPUs that were shown or changed: complete clock groups."""

    cpus: list[Cpu]
    """In the order of their clock groups, then of their numbers."""


class ChannelSelection(TypedDict):
    """The channels that were enabled or disabled, after the change."""

    channels: list[Channel]
    """In the order of their numbers."""


class PoliciesLeft(TypedDict):
    """The policies that a domain has after one was removed."""

    policies: list[Policy]
    """Those in force."""


class PolicyPreview(TypedDict):
    """What a policy would request."""

    text: str
    """The policy, with all its options."""
    zone: str | None
    """Its time zone; null: that of this host."""
    changes: list[PolicyChange]
    """The levels by time, the first one at the beginning."""
    end: str
    """The end of the preview: ISO 8601."""


class Template(TypedDict):
    """A template for new domains."""

    name: str
    """Its name."""
    path: str | None
    """Its file; null: it is built in."""
    summary: str
    """What it is for; empty: it has no summary."""
    problem: str
    """Why it cannot be used; empty: nothing prevents it."""


class TemplateList(TypedDict):
    """All templates."""

    templates: list[Template]
    """Those that are built in, and local ones."""


class TemplateParameter(TypedDict):
    """What can be replaced in a template."""

    name: str
    """Name for `--set`."""
    value: str | None
    """Its value if it is not given; null: none."""
    required: bool
    """Whether it must be given."""
    option: str | None
    """Option of `vmpower domain add` that sets it, too; null: none."""
    summary: str
    """What it is."""


class TemplateDetails(Template):
    """A template and its parameters."""

    parameters: list[TemplateParameter]
    """What can be replaced in it."""


class NewDomain(TypedDict):
    """A domain that was defined (`--define`)."""

    uuid: str
    """UUID."""
    name: str
    """Name."""
    started: bool
    """Whether it was started."""
    pins: list[int]
    """Host CPUs of its vCPUs, in the order of the vCPUs; empty: not pinned."""
    hints: list[str]
    """What may need attention, one sentence each."""


class PinnedVcpu(TypedDict):
    """A vCPU that was pinned."""

    uuid: str
    """UUID of the domain."""
    name: str
    """Name of the domain."""
    vcpu: int
    """Number of the vCPU."""
    pcpus: list[int]
    """Host CPUs that it may run on, lowest first."""
    hints: list[str]
    """What may need attention, one sentence each."""


class ChangedSettings(TypedDict):
    """All settings of a domain after a change."""

    uuid: str
    """UUID of the domain."""
    name: str
    """Name of the domain."""
    live: NotRequired[DomainSettings]
    """Those of the running domain, if they were changed; null: not set."""
    config: NotRequired[DomainSettings]
    """Those of its definition, if they were changed; null: not set."""
    hints: list[str]
    """What may need attention, one sentence each."""


class LackingVCpus(TypedDict):
    """vCPUs that get no P-states."""

    vcpus: list[int]
    """Their numbers."""
    reason: str
    """Why."""


class PStateChange(TypedDict):
    """What was changed in the definition of one domain."""

    is_changed: bool
    """Whether anything was changed; it takes effect after the domain is powered off."""
    vcpus: list[int]
    """vCPUs that have P-states with the next start."""
    lacking: list[LackingVCpus]
    """Those that get none."""
    warnings: list[str]
    """What may keep the guest from using them."""


class OnboardedDomain(TypedDict):
    """What was changed in one domain, or why it failed."""

    uuid: str
    """UUID."""
    name: str
    """Name."""
    live: NotRequired[list[int]]
    """Channels that were attached to or detached from the running domain."""
    config: NotRequired[list[int]]
    """Channels that were added to or removed from its definition."""
    waiting: NotRequired[list[int]]
    """Channels without a port in the running domain, which gets them at its next
    start."""
    obstacle: NotRequired[str]
    """Why they wait; empty if none does."""
    by_rule: NotRequired[list[int]]
    """Channels that a rule of vmpowerd's configuration will add again."""
    has_saved_state: NotRequired[bool]
    """Whether the domain has a saved state (managed save), which lacks the change."""
    p_states: NotRequired[PStateChange | None]
    """What was changed for P-states; null: they were not to be changed."""
    error: NotRequired[str]
    """Why the change failed; with it, the keys above but `uuid` and `name` are left
    out."""
    hint: NotRequired[str]
    """How to fix it; empty if not known."""


class OnboardedList(TypedDict):
    """All domains that were to be changed."""

    domains: list[OnboardedDomain]
    """In the order in which they were changed."""


class KeptGroup(TypedDict):
    """A clock group that could not be restored."""

    clock_group: int
    """Its number."""
    reason: str
    """Why."""


class KeptAttribute(TypedDict):
    """An attribute of the kernel that could not be restored."""

    path: str
    """Relative to the root of the CPU tree."""
    reason: str
    """Why."""


class RestoredAttributes(TypedDict):
    """What became of other attributes, such as idle latencies and turbo switches."""

    restored: list[str]
    """Paths, relative to the root of the CPU tree, of those that were restored."""
    left: list[str]
    """Those that another program has changed since, or that are gone."""
    kept: list[KeptAttribute]
    """Those that could not be restored."""


class TunedProfile(TypedDict):
    """A TuneD profile that leaves CPUs to vmpowerd."""

    cpus: list[int]
    """The CPUs that it leaves alone."""
    base: str
    """The profile that it extends."""
    path: str | None
    """The file that it was written to; null without `--install`."""
    text: str
    """The profile."""


class Restoration(TypedDict):
    """What became of the clock groups that a daemon has left behind."""

    restored: list[int]
    """Those whose original settings were restored."""
    left: list[int]
    """Those that are unchanged, because their settings are another program's."""
    kept: list[KeptGroup]
    """Those that could not be restored; the exit status is 1."""
    attributes: RestoredAttributes
    """What became of the other settings."""


class CommandFailure(TypedDict):
    """Why a command failed."""

    message: str
    """One line."""
    hint: str
    """How to fix it; empty if not known."""
    status: int
    """Exit status of the command."""


class CommandError(TypedDict):
    """What a command that fails prints on standard error, on one line."""

    error: CommandFailure
    """The failure."""


DOCUMENTS: dict[str, type] = {
    "vmpower status": Status,
    "vmpower domain list": DomainList,
    "vmpower domain show": Domain,
    "vmpower domain add": NewDomain,
    "vmpower domain pin": PinnedVcpu,
    "vmpower domain onboard": OnboardedList,
    "vmpower domain offboard": OnboardedList,
    "vmpower domain set": ChangedSettings,
    "vmpower channel list": ChannelList,
    "vmpower channel enable": ChannelSelection,
    "vmpower channel disable": ChannelSelection,
    "vmpower cpu list": CpuList,
    "vmpower cpu show": CpuSelection,
    "vmpower cpu set": CpuSelection,
    "vmpower cpu release": CpuSelection,
    "vmpower cpu retake": CpuSelection,
    "vmpower policy list": PolicyList,
    "vmpower policy set": PolicyAnswer,
    "vmpower policy preview": PolicyPreview,
    "vmpower policy remove": PoliciesLeft,
    "vmpower energy show": Energy,
    "vmpower energy explain": Energy,
    "vmpower energy calibrate": Energy,
    "vmpower apply": OutcomeList,
    "vmpower template list": TemplateList,
    "vmpower template show": TemplateDetails,
    "vmpower events": EventRecord,
    "vmpower report": Report,
    "vmpower advise": AdviceList,
    "vmpower doctor": Diagnosis,
    "vmpower restore": Restoration,
    "vmpower tuned-profile": TunedProfile,
}
"""By the full name of the command; one for each event, with `vmpower events`."""
