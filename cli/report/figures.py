# SPDX-License-Identifier: Apache-2.0
"""Figures of a report: by domain, or by hour or day."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from cli.output.report_documents import (
    Report,
    ReportFrequency,
    ReportHold,
    ReportHost,
    ReportRefusal,
    ReportRow,
)
from cli.report.holds import explain_hold
from orchestrator.values.units import kwh

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.control.documents import History, HistoryDomain, HistoryHost

HOUR_S = 3_600
DAY_S = 86_400


class By(StrEnum):
    """What each row of a report is."""

    HOUR = "hour"
    DAY = "day"
    DOMAIN = "domain"

    @property
    def step_s(self) -> int:
        """Length of the history's parts; 0: one part."""
        return {By.HOUR: HOUR_S, By.DAY: DAY_S, By.DOMAIN: 0}[self]

    def align(self, moment: datetime) -> datetime:
        """Return the beginning of the hour or the day, in the zone of the moment."""
        return align(moment, self.step_s) if self.step_s else moment


def align(moment: datetime, step_s: int) -> datetime:
    """Return the last multiple of some seconds since midnight; at least midnight."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    since_s = (moment - midnight).total_seconds()
    return midnight + timedelta(seconds=since_s // step_s * step_s)


def build_report(history: History, by: By, *, is_what_if: bool) -> Report:
    """Return the figures of a history.

    Args:
        history: in parts of the length of `by`.
        by: what each row is.
        is_what_if: count every request as if it had been granted.
    """
    groups: dict[tuple[int, str], list[HistoryDomain]] = {}
    for domain in history["domains"]:
        key = (0, domain["uuid"]) if by is By.DOMAIN else (domain["part"], "")
        groups.setdefault(key, []).append(domain)
    rows = [
        _row(parts, is_what_if=is_what_if)
        | {
            "domain": parts[0]["name"] if by is By.DOMAIN else None,
            "uuid": uuid or None,
            "since": None if by is By.DOMAIN else begin_of(history, part).isoformat(),
        }
        for (part, uuid), parts in sorted(groups.items())
    ]
    if by is By.DOMAIN:
        rows.sort(key=lambda row: (-row["saved_kwh"], row["domain"] or ""))
    return Report(
        since=history["since"],
        until=history["until"],
        by=by.value,
        what_if=is_what_if,
        host=_host(history, is_what_if=is_what_if),
        rows=rows,
        holds=_holds(history["domains"]),
        refusals=_refusals(history["domains"]),
        events=history["events"],
        problem=history["problem"],
    )


def begin_of(history: History, part: int) -> datetime:
    """Return when a part of a history begins."""
    since = datetime.fromisoformat(history["since"])
    return since + timedelta(seconds=part * history["step_s"])


def watts(joules: float, seconds: float) -> float:
    """Return the mean power; 0 without time."""
    return joules / seconds if seconds else 0.0


def mean_khz(steps: Iterable[tuple[int, float]]) -> int | None:
    """Return the mean of frequencies, weighted; None: nothing is known."""
    known = [(khz, weight) for khz, weight in steps if khz]
    total = sum(weight for _, weight in known)
    return round(sum(khz * w for khz, w in known) / total) if total else None


def _row(parts: Sequence[HistoryDomain], *, is_what_if: bool) -> ReportRow:
    used = sum(it["joules"] for it in parts)
    used, saved = _used_and_saved(used, parts, is_what_if=is_what_if)
    by_khz: dict[int, float] = {}
    for part in parts:
        for step in part["steps"]:
            khz = step["requested_khz"] if is_what_if else step["khz"]
            by_khz[khz] = by_khz.get(khz, 0.0) + step["core_s"]
    return ReportRow(
        domain=None,
        uuid=None,
        since=None,
        running_s=round(sum(it["duration_s"] for it in parts)),
        requests_total=sum(it["requests_total"] for it in parts),
        refused_total=sum(it["refused_total"] for it in parts),
        late_total=sum(it["late_total"] for it in parts),
        dropped_total=sum(it["dropped_total"] for it in parts),
        mean_khz=mean_khz(by_khz.items()),
        frequencies=[
            ReportFrequency(khz=khz, core_h=core_s / HOUR_S)
            for khz, core_s in sorted(by_khz.items())
        ],
        has_energy=any(it["has_energy"] for it in parts),
        kwh=kwh(used),
        kwh_error=kwh(sum(it["error_joules"] for it in parts)),
        saved_kwh=kwh(saved),
        saved_kwh_error=kwh(
            sum(
                possible_error(it) if is_what_if else it["saved_error_joules"]
                for it in parts
            )
        ),
        saved_percent=_percent(saved, used),
    )


def possible_error(part: HistoryDomain) -> float:
    """Return the uncertainty of what would be saved, in joules.

    Beside that of what is saved, the rest is as uncertain as what is used.
    """
    more = part["possible_joules"] - part["saved_joules"]
    return part["saved_error_joules"] + _share(
        more, part["joules"], part["error_joules"]
    )


def _possible_host_error(host: HistoryHost) -> float:
    used = host["measured_joules"] - host["static_joules"]
    used -= host["idle_joules"] + host["host_joules"]
    more = host["possible_joules"] - host["saved_joules"]
    return host["saved_error_joules"] + _share(more, used, host["error_joules"])


def _share(joules: float, whole: float, error: float) -> float:
    """Return the part of an error that falls to a part of an energy."""
    return max(0.0, joules) * error / whole if whole > 0 else 0.0


def _used_and_saved(
    used: float,
    parts: Sequence[HistoryDomain] | Sequence[HistoryHost],
    *,
    is_what_if: bool,
) -> tuple[float, float]:
    """Return what was used and saved, or would have been; joules."""
    saved = sum(it["saved_joules"] for it in parts)
    if not is_what_if:
        return used, saved
    possible = sum(it["possible_joules"] for it in parts)
    return used - (possible - saved), possible


def _percent(saved: float, used: float) -> float | None:
    """Return the share of what would have been used; None: nothing was."""
    return 100 * saved / (used + saved) if used + saved > 0 else None


def _host(history: History, *, is_what_if: bool) -> ReportHost:
    hosts = history["hosts"]
    last = hosts[-1] if hosts else None
    measured = sum(it["measured_joules"] for it in hosts)
    measured, saved = _used_and_saved(measured, hosts, is_what_if=is_what_if)
    return ReportHost(
        recorded_s=round(sum(it["duration_s"] for it in hosts)),
        source=last["source"] if last else None,
        calibrated=all(it["calibrated"] for it in hosts),
        holes=sum(it["holes"] for it in hosts),
        kwh=kwh(measured),
        static_kwh=kwh(sum(it["static_joules"] for it in hosts)),
        saved_kwh=kwh(saved),
        saved_kwh_error=kwh(
            sum(
                _possible_host_error(it) if is_what_if else it["saved_error_joules"]
                for it in hosts
            )
        ),
        saved_percent=_percent(saved, measured),
        saved_money=_times(saved, history["price_per_kwh"]),
        currency=history["currency"],
        saved_co2_kg=_times(saved / 1000, history["co2_g_per_kwh"]),
    )


def _times(joules: float, per_kwh: float | None) -> float | None:
    return None if per_kwh is None else kwh(joules) * per_kwh


def _holds(domains: Iterable[HistoryDomain]) -> list[ReportHold]:
    """Return what kept domains from the frequencies that they request, worst first."""
    sums: dict[tuple[str, str], list[float]] = {}
    names: dict[str, str] = {}
    for domain in domains:
        names[domain["uuid"]] = domain["name"]
        for hold in domain["holds"]:
            found = sums.setdefault((domain["uuid"], hold["cause"]), [0.0, 0.0])
            found[0] += hold["core_s"]
            found[1] += hold["joules"]
    holds = [
        ReportHold(
            domain=names[uuid],
            uuid=uuid,
            cause=cause,
            text=explain_hold(cause),
            vcpu_h=core_s / HOUR_S,
            kwh=kwh(joules),
        )
        for (uuid, cause), (core_s, joules) in sums.items()
    ]
    return sorted(holds, key=lambda it: (-it["kwh"], -it["vcpu_h"], it["domain"]))


def _refusals(domains: Iterable[HistoryDomain]) -> list[ReportRefusal]:
    """Return what was refused, the most first."""
    sums: dict[tuple[str, str], int] = {}
    names: dict[str, str] = {}
    for domain in domains:
        names[domain["uuid"]] = domain["name"]
        for reason, count in domain["refusals"].items():
            key = (domain["uuid"], reason)
            sums[key] = sums.get(key, 0) + count
    return [
        ReportRefusal(domain=names[uuid], uuid=uuid, reason=reason, requests=count)
        for (uuid, reason), count in sorted(sums.items(), key=lambda it: -it[1])
        if count
    ]
