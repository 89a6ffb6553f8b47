# SPDX-License-Identifier: Apache-2.0
"""Advice from a history: what to change, what it would save, and at which risk.

Theory of operation: each hold suggests a change. What it costs is an upper limit of
what the change saves. How much of it is expected is

* all of it, if the requested frequency is known (mode observe, limits, overrides);
* for a domain without requests that sleeps when it is idle, the share of the time for
  which it sleeps, because the policy `utilisation` lets it be busy for the rest;
* for one that polls, a half: what `packet-rate` and `vmpower-guest auto --dpdk` reach
  of the most that is possible, in a simulated day (docs/benchmarks.md).
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from cli.output.report_documents import Advice, AdviceList
from cli.report.figures import DAY_S, possible_error
from orchestrator.values.quantities import format_share
from orchestrator.values.units import kwh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.control.documents import (
        Cpu,
        Domain,
        History,
        HistoryDomain,
        HistoryHold,
    )

MODEL_ERROR = 0.33
"""Of what a published curve says."""
_POLLING_SHARE = 0.5
_UNKNOWN_ERROR = 0.5
"""Of what is expected where the need is unknown."""
_BUSY_AT_TARGET = 0.65
"""Between the thresholds of the policy utilisation."""
LEAST_KWH_PER_DAY = 0.001
"""Less is not worth a change."""
_FIXED = {None, "hardware", "kernel"}
"""Sources of lower limits that no setting of vmpower changes."""
_CAPACITY = "N: the packets per second that it can just handle"
_HEALTHY = "no answer was late or dropped"


class _Estimate(NamedTuple):
    """What a change is expected to save in the time of the history; joules."""

    joules: float
    error: float


def build_advice(
    history: History, domains: Sequence[Domain], cpus: Sequence[Cpu]
) -> AdviceList:
    """Return advice about the domains that run now, what saves most first.

    Args:
        history: in one part.
        domains: as they are now.
        cpus: the host's.
    """
    known = {domain["uuid"]: domain for domain in domains}
    found = [
        advice
        for past in history["domains"]
        if (now := known.get(past["uuid"])) is not None
        for advice in _advise(past, now, cpus)
        if advice["saves_kwh_per_day"] >= LEAST_KWH_PER_DAY
    ]
    found.sort(key=lambda it: -it["saves_kwh_per_day"])
    return AdviceList(
        since=history["since"],
        until=history["until"],
        days=sum(it["duration_s"] for it in history["hosts"]) / DAY_S,
        advice=found,
    )


def _advise(past: HistoryDomain, now: Domain, cpus: Sequence[Cpu]) -> Iterator[Advice]:
    for hold in past["holds"]:
        match hold["cause"]:
            case "observe":
                yield _enforce(past, hold)
            case "lower-limit":
                yield from _lower(past, now, hold)
            case "no-vote":
                yield _follow(past, hold)
            case "override":
                yield _release(past, now, hold, cpus)
            case "host":
                yield _share(past, hold)
            case "neighbor":
                yield _separate(past, hold)
            case _:  # floating vCPUs and upper limits save nothing
                pass


def _advice(
    past: HistoryDomain,
    estimate: _Estimate,
    commands: list[str],
    reason: str,
    risk: str,
) -> Advice:
    per_day = DAY_S / past["duration_s"] if past["duration_s"] else 0.0
    return Advice(
        domain=past["name"],
        uuid=past["uuid"],
        commands=commands,
        reason=reason,
        saves_kwh_per_day=kwh(estimate.joules * per_day),
        error_kwh_per_day=kwh(estimate.error * per_day),
        risk=risk,
    )


def _modelled(joules: float, relative_error: float = MODEL_ERROR) -> _Estimate:
    return _Estimate(joules, joules * relative_error)


def _answers(past: HistoryDomain) -> str:
    """Return what was counted of answers: a guest that misses them may misjudge."""
    late, dropped = past["late_total"], past["dropped_total"]
    if not late and not dropped:
        return _HEALTHY
    requests = past["requests_total"]
    return f"of {requests:,} answers, {late:,} were late and {dropped:,} dropped"


def _enforce(past: HistoryDomain, hold: HistoryHold) -> Advice:
    more = past["possible_joules"] - past["saved_joules"]
    if past["has_energy"]:
        estimate = _Estimate(more, possible_error(past))
    else:
        estimate = _modelled(hold["joules"])
    return _advice(
        past,
        estimate,
        [f"vmpower domain set {quote(past['name'])} --mode enforce"],
        "its requests are counted but not granted",
        f"its guest gets what it requests; {_answers(past)}",
    )


def _lower(past: HistoryDomain, now: Domain, hold: HistoryHold) -> Iterator[Advice]:
    sources = {vcpu["min_source"] for vcpu in now["vcpus"]} - _FIXED
    commands = [_unset_min(past["name"], source) for source in sorted(sources, key=str)]
    if commands:
        yield _advice(
            past,
            _modelled(hold["joules"]),
            commands,
            "it requests less than its lower limit permits",
            "packets may wait longer when traffic begins, until it requests more;"
            f" {_answers(past)}",
        )


def _unset_min(domain: str, source: str | None) -> str:
    if source is not None and source.startswith("rule "):
        return f"# vmpower.toml: lower min_khz of [[domain]] {source[len('rule ') :]}"
    if source is not None and "metadata" in source:
        return f"vmpower domain set {quote(domain)} --unset min"
    return "# vmpower.toml: lower min_khz of [bounds]"


def _follow(past: HistoryDomain, hold: HistoryHold) -> Advice:
    name = quote(past["name"])
    polling = sum(it["core_s"] for it in past["steps"] if it["activity"] == "poll")
    other = sum(it["core_s"] for it in past["steps"] if it["activity"] != "poll")
    if polling > other:
        return _advice(
            past,
            _modelled(_POLLING_SHARE * hold["joules"], _UNKNOWN_ERROR),
            [f"vmpower policy set {name} packet-rate capacity-pps=N  # {_CAPACITY}"],
            "it polls and requests no frequency",
            "packets are lost if N is too high; in the guest, 'vmpower-guest auto"
            " --dpdk' needs no figure",
        )
    load = min(1.0, other / hold["core_s"]) if hold["core_s"] else 1.0
    share = 1.0 - min(1.0, load / _BUSY_AT_TARGET)
    return _advice(
        past,
        _modelled(share * hold["joules"], _UNKNOWN_ERROR),
        [f"vmpower policy set {name} utilisation"],
        f"it requests no frequency, and its vCPUs are busy for"
        f" {format_share(load)} of the time",
        "up to a second passes until a sudden load gets the highest frequency",
    )


def _release(
    past: HistoryDomain, now: Domain, hold: HistoryHold, cpus: Sequence[Cpu]
) -> Advice:
    mine = {pcpu for vcpu in now["vcpus"] for pcpu in vcpu["pcpus"]}
    held = sorted(
        cpu["pcpu"]
        for cpu in cpus
        if cpu["pcpu"] in mine and cpu["override_khz"] is not None
    )
    listed = ",".join(map(str, held))
    return _advice(
        past,
        _modelled(hold["joules"]),
        [f"vmpower cpu release {listed}"] if held else [],
        "an operator has set the frequency of its CPUs"
        + ("" if held else "; not any more"),
        "what the frequency was set for",
    )


def _share(past: HistoryDomain, hold: HistoryHold) -> Advice:
    return _advice(
        past,
        _modelled(hold["joules"]),
        ["# vmpower.toml: [power] share_with_host = true"],
        "the host's own work may run in its clock groups, which it keeps fast",
        "that work becomes slower with the domain's requests",
    )


def _separate(past: HistoryDomain, hold: HistoryHold) -> Advice:
    return _advice(
        past,
        _modelled(hold["joules"]),
        [
            f"vmpower domain pin {quote(past['name'])} VCPU CPU  # of another group",
        ],
        "other vCPUs in its clock groups need higher frequencies",
        "none, if the CPU is on the same NUMA node",
    )
