"""Domains and their channels."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from cli.doctor.examination import check
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.domains import Domains
from cli.doctor.finding import error, info, warning
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.facts.domains import Channel, Domain
    from cli.doctor.finding import Finding

NEWEST_BYTES = (464, 460)
"""Packets of DPDK 18.11 and later; of 32-bit guests, 460."""
_REFUSALS = {
    "observed": 'vmpower domain set NAME --mode enforce, or mode = "enforce" in'
    " vmpower.toml",
    "disabled": "vmpower channel enable NAME all",
    "no-vcpu": "let the guest's lcores have the numbers of its vCPUs",
    "floating": "vmpower domain pin NAME VCPU CPUS",
    "turbo": "vmpower domain set NAME --turbo, and bounds.turbo in vmpower.toml",
    "overridden": "vmpower cpu release all",
    "policies-forbidden": "vmpower domain set NAME --guest-policies",
    "queries-forbidden": "vmpower domain set NAME --queries",
}
"""Cures by the reason, in the monitor's words; the others are the guest's to cure, or
the kernel's."""
_ONE_CLIENT = (
    "end the program that holds it, such as DPDK's own vm_power_manager: 'ss -xp' shows"
    " who is connected"
)


@check(Domains)
def no_domain_takes_part(domains: Domains) -> Iterator[Finding]:
    """No domain has a channel to ask with."""
    if not any(domain.channels for domain in domains.domains):
        yield info(
            "domains",
            f"none of {len(domains.domains)} has a poweragent channel",
            "vmpower domain onboard DOMAIN, or vmpower domain add NAME",
        )


@check(Domains)
def vcpu_floats(domains: Domains) -> Iterator[Finding]:
    """VCPUs that ask for clocks and run in no one clock group."""
    for domain in domains.taking_part():
        for reason, numbers in _by_reason(domain).items():
            word = "vCPU" if len(numbers) == 1 else "vCPUs"
            yield warning(
                f"domain {domain.name}",
                f"{word} {format_cpulist(numbers)} cannot be clocked: {reason}",
                f"vmpower domain pin {domain.name} VCPU CPUS",
            )


def _by_reason(domain: Domain) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for vcpu in domain.vcpus:
        if vcpu.reason:
            found.setdefault(vcpu.reason, []).append(vcpu.number)
    return found


@check(Domains)
def channel_path_long(domains: Domains) -> Iterator[Finding]:
    """Channels whose socket's path is longer than the kernel takes."""
    for domain, channel in _channels(domains):
        size = len(os.fsencode(channel.path))
        if size > MAX_SOCKET_PATH_BYTES:
            yield error(
                f"domain {domain.name}",
                f"the path of channel {channel.number} has {size} bytes, a socket's at"
                f" most {MAX_SOCKET_PATH_BYTES}: {channel.path}",
                "give it a shorter path, or none: libvirt then chooses one",
            )


@check(Domains, Status)
def channel_contended(domains: Domains, _status: Status) -> Iterator[Finding]:
    """Channels that another program holds."""
    for domain, channel in _channels(domains):
        if channel.state == "contended":
            what = channel.reason or "another program holds it"
            yield error(f"domain {domain.name}", _say(channel, what), _ONE_CLIENT)


@check(Domains, Status)
def channel_refused(domains: Domains, _status: Status) -> Iterator[Finding]:
    """Channels that cannot be connected until somebody changes something."""
    for domain, channel in _channels(domains):
        if channel.state == "refused":
            yield error(
                f"domain {domain.name}",
                _say(channel, channel.reason or "it cannot be connected"),
                "run vmpowerd as root or as QEMU's user; see ls -l of the path, and"
                " channels.trusted_uids if QEMU runs as another user",
            )


@check(Domains)
def guest_outdated(domains: Domains) -> Iterator[Finding]:
    """Guests whose DPDK is so old that it can ask for less."""
    for domain in domains.domains:
        sizes = {channel.generation for channel in domain.channels}
        old = sorted(s for s in sizes if s is not None and s not in NEWEST_BYTES)
        if old:
            yield info(
                f"domain {domain.name}",
                f"its packets have {old[0]} bytes: DPDK before 18.11, which hears no"
                " answers and cannot ask what its clocks are",
                "a newer DPDK in the guest",
            )


@check(Status)
def requests_refused(status: Status) -> Iterator[Finding]:
    """Guests that ask and are refused, all of the time or now and then."""
    for domain in status.document["domains"]:
        reasons: Counter[str] = Counter()
        for channel in domain["channels"]:
            reasons.update(channel.get("nack_reasons", {}))
        if not reasons.total():
            continue
        words = ", ".join(f"{word} {count}" for word, count in reasons.most_common())
        cure = _REFUSALS.get(reasons.most_common(1)[0][0], "vmpower domain show NAME")
        is_served = any(channel["acks_total"] for channel in domain["channels"])
        say, what = (info, "some") if is_served else (warning, "all")
        yield say(
            f"domain {domain['name']}",
            f"{what} of its requests were refused: {words}",
            cure.replace("NAME", domain["name"]),
        )


@check(Domains)
def domain_troubled(domains: Domains) -> Iterator[Finding]:
    """What is wrong with a domain's XML, metadata or onboarding."""
    for domain in domains.domains:
        for problem in domain.problems:
            yield warning(
                f"domain {domain.name}",
                problem,
                f"vmpower domain show {domain.name}; virsh edit {domain.name}",
            )


def _channels(domains: Domains) -> Iterator[tuple[Domain, Channel]]:
    for domain in domains.domains:
        for channel in domain.channels:
            yield domain, channel


def _say(channel: Channel, what: str) -> str:
    return f"channel {channel.number} is {channel.state}: {what}"
