# SPDX-License-Identifier: Apache-2.0
"""Domains and their channels."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, info, warning
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.domains import Domains
from cli.output.tables.cells import format_time
from cli.output.tables.refusals import last_refused
from orchestrator.values.cpuset import format_cpulist, name_all
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES
from orchestrator.values.domain_settings import SETTINGS
from orchestrator.values.refusal import Permission, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cli.doctor.diagnosis import Finding
    from cli.doctor.facts.domains import Channel, Domain
    from orchestrator.control import documents

NEWEST_BYTES = (464, 460)
"""Size of the packets of DPDK 18.11 and later; 460 from 32-bit guests."""
_FIXES = {
    "observed": 'vmpower domain set NAME --mode enforce, or mode = "enforce" in'
    " vmpower.toml",
    "disabled": "vmpower channel enable NAME all",
    "no-step": "power domain NAME off and on: its guest has the P-state table of an"
    " earlier start",
    "no-vcpu": "make the guest's lcore numbers match its vCPU numbers",
    "floating": "vmpower domain pin NAME VCPU CPUS",
    "unmanaged": "see the findings about its CPUs, or 'vmpower cpu list'",
    "turbo": "vmpower domain set NAME --turbo, and bounds.turbo = true in vmpower.toml",
    "overridden": "vmpower cpu release all",
    **{
        permission.refusal.word: "vmpower domain set NAME"
        f" --{SETTINGS[permission].attribute}"
        for permission in Permission
    },
}
"""By the reason of a refusal; others are to be fixed in the guest or the kernel."""
_NOT_QEMU = (
    "if a program other than QEMU listens there ('ss -xlp' lists listeners), stop it,"
    " then power the domain off and on"
)
_DISCONNECT = (
    "stop the program that is connected, such as DPDK's vm_power_manager: 'ss -xp'"
    f" lists connections; {_NOT_QEMU}"
)


@check(Domains)
def no_domain_takes_part(domains: Domains) -> Iterator[Finding]:
    """No domain has a channel for requests."""
    if not any(domain.channels for domain in domains.domains):
        yield info(
            "domains",
            "no domain has a power agent channel",
            "vmpower domain onboard DOMAIN, or vmpower domain add NAME",
        )


@check(Domains)
def vcpu_floats(domains: Domains) -> Iterator[Finding]:
    """VCPUs with a channel that are not pinned to one clock group.

    Where no pinning helps, the checks of the CPUs have the reason, once for all
    domains.
    """
    for domain in domains.managed():
        for reason, numbers in _floating_by_reason(domain).items():
            yield warning(
                f"domain {domain.name}",
                f"{name_all('vCPU', numbers)} not controllable: {reason}",
                f"vmpower domain pin {domain.name} VCPU CPUS",
            )


@check(Status)
def clock_group_refused(status: Status) -> Iterator[Finding]:
    """Clock groups that the kernel refused, although vCPUs are pinned to them."""
    document, groups = status.document, dict[tuple[int, str], list[int]]()
    refused = {
        vcpu["reason"]
        for domain in document["domains"]
        for vcpu in domain["vcpus"]
        if vcpu.get("refusal") == Refusal.UNMANAGED.word
    }
    for cpu in document["cpus"]:
        if cpu["reason"] and cpu["reason"] in refused:
            key = cpu["clock_group"], cpu["reason"]
            groups.setdefault(key, []).append(cpu["pcpu"])
    for (_, reason), pcpus in groups.items():
        yield error(
            f"CPU {format_cpulist(pcpus)}",
            f"no frequency can be set: {reason}",
            "remove the cause; vmpowerd tries again at its next resync",
        )


def _floating_by_reason(domain: Domain) -> dict[str, list[int]]:
    # By DPDK's convention, vCPU N requests over channel N.
    requesting = {channel.number for channel in domain.channels}
    if any(channel.is_p_states for channel in domain.channels):
        requesting.update(vcpu.number for vcpu in domain.vcpus)
    found: dict[str, list[int]] = {}
    for vcpu in domain.vcpus:
        if vcpu.is_floating and vcpu.number in requesting:
            found.setdefault(vcpu.reason, []).append(vcpu.number)
    return found


@check(Domains)
def channel_path_long(domains: Domains) -> Iterator[Finding]:
    """Channels whose socket path is longer than the kernel allows."""
    for domain, channel in _channels(domains):
        size = len(os.fsencode(channel.path))
        if size > MAX_SOCKET_PATH_BYTES:
            yield error(
                f"domain {domain.name}",
                f"the socket path of channel {channel.number} has {size} bytes, but"
                f" at most {MAX_SOCKET_PATH_BYTES} work: {channel.path}",
                "use a shorter path, or none: libvirt then chooses one",
            )


@check(Domains)
def channel_path_shared(domains: Domains) -> Iterator[Finding]:
    """Running domains with channels that have one socket path."""
    for path, users in _shared_paths(domains).items():
        names = [f"channel {number} of domain {name}" for name, number in users]
        yield error(
            f"socket {path}",
            f"{' and '.join(names)} have this path, so none of them is connected",
            "remove the path from the channel's <source> with 'virsh edit' (libvirt"
            " then chooses one), and power the domain off and on",
        )


@check(Domains, Status)
def channel_contended(domains: Domains, _status: Status) -> Iterator[Finding]:
    """Channels that another program is connected to."""
    for domain, channel in _channels(domains):
        if channel.state == "contended":
            what = channel.reason or "another program is connected to it"
            yield error(f"domain {domain.name}", _describe(channel, what), _DISCONNECT)


@check(Domains, Status)
def channel_refused(domains: Domains, _status: Status) -> Iterator[Finding]:
    """Channels that the daemon refuses or is denied."""
    shared = _shared_paths(domains)
    for domain, channel in _channels(domains):
        if channel.state == "refused" and channel.path not in shared:
            yield error(
                f"domain {domain.name}",
                _describe(channel, channel.reason or "it cannot be connected"),
                f"{_NOT_QEMU}; otherwise run vmpowerd as root or as QEMU's user, and"
                " add the user that QEMU runs as to channels.trusted_uids",
            )


@check(Domains, Status)
def channel_quarantined(domains: Domains, _status: Status) -> Iterator[Finding]:
    """Channels whose guests send too much."""
    for domain, channel in _channels(domains):
        if channel.state == "quarantined":
            yield error(
                f"domain {domain.name}",
                _describe(channel, channel.reason or "its guest sends too much"),
                "correct the program in the guest, then run 'vmpower channel enable"
                f" {domain.name} {channel.number}'; channels.budget sets the limit",
            )


@check(Domains)
def guest_outdated(domains: Domains) -> Iterator[Finding]:
    """Guests with an old DPDK, which lacks some functions."""
    for domain in domains.domains:
        sizes = {channel.generation for channel in domain.channels}
        old = sorted(s for s in sizes if s is not None and s not in NEWEST_BYTES)
        if old:
            yield info(
                f"domain {domain.name}",
                f"its packets have {old[0]} bytes: DPDK before 18.11, which reads no"
                " answers and cannot query frequencies",
                "use a newer DPDK in the guest",
            )


@check(Status)
def requests_refused(status: Status) -> Iterator[Finding]:
    """Guests whose requests are refused, all or some of them."""
    for domain in status.document["domains"]:
        reasons: Counter[str] = Counter()
        for channel in domain["channels"]:
            reasons.update(channel.get("nack_reasons", {}))
        if not reasons.total():
            continue
        counts = ", ".join(f"{word} {count}" for word, count in reasons.most_common())
        causes = {
            word for channel in domain["channels"] for word in channel["nack_causes"]
        }
        # The daemon explains those that it has a fix for as long as they last.
        lasting = [
            word
            for word, _ in reasons.most_common()
            if word in causes or word not in _FIXES
        ]
        if not lasting:
            last = max(last_refused(domain["channels"], word) for word in reasons)
            when = f", last {format_time(last, None)}" if last else ""
            yield info(
                f"domain {domain['name']}",
                f"requests were refused earlier, not any more: {counts}{when}",
            )
            continue
        fix = _FIXES.get(lasting[0], "vmpower domain show NAME")
        if lasting[0] == Refusal.TURBO.word:
            fix = _why_no_turbo(domain, status.document["cpus"]) or fix
        is_served = any(map(_is_served, domain["channels"]))
        finding, what = (info, "some") if is_served else (warning, "all")
        yield finding(
            f"domain {domain['name']}",
            f"{what} requests refused: {counts}",
            fix.replace("NAME", domain["name"]),
        )


def _is_served(channel: documents.Channel) -> bool:
    """Return whether some of its requests were granted, answered or not."""
    refused = sum(channel["nack_reasons"].values())
    return bool(channel["acks_total"]) or channel["unanswered_total"] > refused


def _why_no_turbo(domain: documents.Domain, cpus: Iterable[documents.Cpu]) -> str:
    """Return how to fix refused turbo of a domain that has the right; or empty."""
    rights = domain["rights"]
    if rights is None or not rights["turbo"]["value"]:
        return ""
    pcpus = {pcpu for vcpu in domain["vcpus"] for pcpu in vcpu["pcpus"]}
    used = [cpu for cpu in cpus if cpu["pcpu"] in pcpus]
    if not any(cpu["nominal_khz"] != cpu["steps_khz"][0] for cpu in used):
        return "request the highest frequency in the guest: its CPUs have no turbo step"
    if not all(cpu.get("boost", True) for cpu in used):
        return (
            "turbo is off in the kernel: echo 1 > /sys/devices/system/cpu/cpufreq/boost"
        )
    return ""


@check(Domains)
def domain_troubled(domains: Domains) -> Iterator[Finding]:
    """Problems with a domain's XML, metadata or onboarding."""
    for domain in domains.domains:
        for problem in domain.problems:
            yield warning(
                f"domain {domain.name}",
                problem,
                f"vmpower domain show {domain.name}; virsh edit {domain.name}",
            )


def _shared_paths(domains: Domains) -> dict[str, list[tuple[str, int]]]:
    users: dict[str, list[tuple[str, int]]] = {}
    for domain in domains.active():
        for channel in domain.channels:
            if channel.path:
                users.setdefault(channel.path, []).append((domain.name, channel.number))
    return {path: found for path, found in users.items() if len(found) > 1}


def _channels(domains: Domains) -> Iterator[tuple[Domain, Channel]]:
    for domain in domains.domains:
        for channel in domain.channels:
            yield domain, channel


def _describe(channel: Channel, what: str) -> str:
    return f"channel {channel.number} is {channel.state}: {what}"
