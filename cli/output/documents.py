# SPDX-License-Identifier: Apache-2.0
"""The JSON documents that commands print, by command.

Those of the daemon are in `orchestrator.control.documents`; what commands print beyond
them is here, as types: the reference (docs/json.md) is made of them, and a test
compares them with what each command prints. `print_json` adds `schema` to each
document.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

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


class Finding(TypedDict):
    """Something that a check has found."""

    id: str
    """Name of the check."""
    severity: str
    """`error`: vmpower does not work; `warning`: it works, but not as expected; `info`:
    no action is needed."""
    subject: str
    """What it is about: a domain, a file, CPUs."""
    what: str
    """What is wrong."""
    fix: str | None
    """How to fix it; null if there is nothing to do."""
    cure: str | None
    """Earlier name of `fix`."""


class UncheckedItem(TypedDict):
    """A check that was skipped."""

    id: str
    """Name of the check."""
    reason: str
    """Why."""
    fix: str | None
    """How to make it possible; null if not known."""
    cure: str | None
    """Earlier name of `fix`."""


class CapableCpus(TypedDict):
    """CPUs with the same driver, mechanism, governor and frequencies."""

    pcpus: list[int]
    """Their numbers."""
    driver: str
    """Scaling driver; empty: none."""
    mode: str | None
    """Its mode, as in `intel_pstate/status` and `amd_pstate/status`; null: it has none,
    or the kernel does not report it."""
    mechanism: str | None
    """How vmpower sets frequencies: `setspeed` (the governor `userspace` and
    scaling_setspeed), or `limits` (scaling_min_freq and scaling_max_freq); null: it
    cannot set them."""
    governor: str
    """Governor; empty: none."""
    min_khz: int | None
    """Lowest frequency of the hardware, in kHz; null: not known."""
    max_khz: int | None
    """Highest frequency of the hardware, turbo included, in kHz; null: not known."""
    nominal_khz: int | None
    """Highest frequency without turbo, in kHz; null: not known."""
    steps: int
    """Number of frequencies that vmpower can set; 0: none."""
    has_turbo: bool
    """Whether one of them is turbo."""
    reason: str | None
    """Why none can be set; null if they can."""


class Diagnosis(TypedDict):
    """The results of all checks of this host."""

    healthy: bool
    """Whether there is nothing to fix; false: the exit status is 5."""
    findings: list[Finding]
    """The most severe first."""
    passed: list[str]
    """Names of the checks that found nothing to fix."""
    unchecked: list[UncheckedItem]
    """Checks that were skipped."""
    cpus: list[CapableCpus]
    """All CPUs of the host, by what vmpower can do with them."""


class ReportFrequency(TypedDict):
    """For how long cores ran at a frequency."""

    khz: int
    """The frequency; 0: unknown."""
    core_h: float
    """Hours, times cores."""


class ReportRow(TypedDict):
    """One domain, or all of them in an hour or a day."""

    domain: str | None
    """Name of the domain; null: all."""
    uuid: str | None
    """UUID of the domain; null: all."""
    since: str | None
    """When the hour or the day begins: ISO 8601; null: the whole period."""
    running_s: int
    """For how long it was seen to run; of several domains, the sum."""
    requests_total: int
    """Requests, policies and queries of its guest."""
    refused_total: int
    """Of these, answered NACK."""
    late_total: int
    """Of these, not answered because the guest had stopped waiting."""
    dropped_total: int
    """Of these, not answered because the guest does not read."""
    mean_khz: int | None
    """Mean frequency of its threads while they ran; null: unknown."""
    frequencies: list[ReportFrequency]
    """For how long they ran at which frequency."""
    has_energy: bool
    """Whether energy was accounted for; else the energies are 0."""
    kwh: float
    """Energy of its threads."""
    kwh_error: float
    """Standard deviation of `kwh`."""
    saved_kwh: float
    """What its vCPUs would have drawn more at their highest frequency."""
    saved_kwh_error: float
    """Standard deviation of `saved_kwh`."""
    saved_percent: float | None
    """`saved_kwh` relative to what it would have used without; null: it used
    nothing."""


class ReportHost(TypedDict):
    """The host in the whole period."""

    recorded_s: int
    """How much of the period was recorded."""
    source: str | None
    """Where energies come from: `powercap`, `hwmon`, `perf` or `modelled`; null: they
    were not accounted for."""
    calibrated: bool
    """Whether the static power was measured on this host."""
    holes: int
    """Number of times without usable meters."""
    kwh: float
    """Energy of all packages."""
    static_kwh: float
    """Of it, what they draw with all cores idle."""
    saved_kwh: float
    """What all domains saved."""
    saved_kwh_error: float
    """Standard deviation of `saved_kwh`."""
    saved_percent: float | None
    """`saved_kwh` relative to what the host would have used without."""
    saved_money: float | None
    """Money for `saved_kwh` at the price that is configured now; null: none is."""
    currency: str
    """Of `saved_money`."""
    saved_co2_kg: float | None
    """CO2 for `saved_kwh`, in kilograms; null: not configured."""


class ReportHold(TypedDict):
    """What kept a domain from the frequencies that it requests."""

    domain: str
    """Name of the domain."""
    uuid: str
    """Its UUID."""
    cause: str
    """`no-vote`, `floating`, `lower-limit`, `neighbor`, `host`, `override`, `observe`
    or `upper-limit`."""
    text: str
    """The same, as a sentence."""
    vcpu_h: float
    """Hours, times vCPUs."""
    kwh: float
    """Energy that it cost at most, estimated by a power curve; 0 for `upper-limit`,
    which costs performance."""


class ReportRefusal(TypedDict):
    """Requests that were refused for one reason."""

    domain: str
    """Name of the domain."""
    uuid: str
    """Its UUID."""
    reason: str
    """`floating`, `no-vcpu`, ..."""
    requests: int
    """How many."""


class Report(TypedDict):
    """What domains did, from the daemon's history."""

    since: str
    """Beginning of the period: ISO 8601."""
    until: str
    """Its end."""
    by: str
    """What a row is: `domain`, `hour` or `day`."""
    what_if: bool
    """Whether each request counts as if it had been granted."""
    host: ReportHost
    """The host in the whole period."""
    rows: list[ReportRow]
    """By domain: what saved most first; else by time."""
    holds: list[ReportHold]
    """What kept domains from the frequencies that they request, the most costly
    first."""
    refusals: list[ReportRefusal]
    """What was refused, the most first."""
    events: dict[str, int]
    """Number of events by kind, of all domains."""
    problem: str | None
    """Why the daemon does not write its history; null: it does."""


class Advice(TypedDict):
    """A change that would save energy."""

    domain: str
    """Name of the domain that it is about."""
    uuid: str
    """Its UUID."""
    commands: list[str]
    """What to execute, or, after a `#`, what to configure. Words in capitals have to be
    replaced."""
    reason: str
    """Why."""
    saves_kwh_per_day: float
    """Expected saving in a day."""
    error_kwh_per_day: float
    """Standard deviation of that."""
    risk: str
    """What may become worse, and what was counted that bears on it."""


class AdviceList(TypedDict):
    """Advice from a period of the history."""

    since: str
    """Beginning of the period: ISO 8601."""
    until: str
    """Its end."""
    days: float
    """How much of that time is recorded."""
    advice: list[Advice]
    """What saves most first."""


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
