# SPDX-License-Identifier: Apache-2.0
"""The accounting of energy as documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.control import models
from orchestrator.energy.residency import DomainEnergy
from orchestrator.values.units import kwh

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.energy.ledger import Figures, Ledger, Prices
    from orchestrator.energy.residency import EnergyInterval
    from orchestrator.energy.state import EnergyState
    from orchestrator.values.domain import DomainId

_DIGITS = 3
_NOTHING = DomainEnergy(residency={})


class EnergyReport:
    """What is known of energy at a time; for one use.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, ledger: Ledger, prices: Prices) -> None:
        self._ledger = ledger
        self._prices = prices
        self._recent = ledger.recent()

    def domain(self, uuid: DomainId) -> models.DomainEnergy | None:
        """Return a domain's energy; None: it has not been accounted."""
        sums, recent = self._ledger.domains.get(uuid), self._recent
        if sums is None or recent is None:
            return None
        return models.DomainEnergy(**self._figures(uuid, sums, recent))

    def _figures(
        self, uuid: DomainId, sums: Figures, recent: EnergyInterval
    ) -> dict[str, float | models.SavedValue]:
        now, seconds = recent.domains.get(uuid, _NOTHING), recent.duration_s
        return {
            "watts": _round(now.joules / seconds),
            "error_watts": _round(now.error_joules / seconds),
            "saved_watts": _round(now.saved_joules / seconds),
            "saved_error_watts": _round(now.saved_error_joules / seconds),
            "possible_watts": _round(now.possible_joules / seconds),
            "joules_total": _round(sums.joules),
            "error_joules_total": _round(sums.error_joules),
            "saved_joules_total": _round(sums.saved_joules),
            "saved_error_joules_total": _round(sums.saved_error_joules),
            "possible_joules_total": _round(sums.possible_joules),
            "saved": self._value(sums.saved_joules),
        }

    def _value(self, joules: float) -> models.SavedValue:
        money = self._prices.money(joules)
        return models.SavedValue(
            kwh=round(kwh(joules), 6),
            money=None if money is None else round(money, 6),
            currency=None if money is None else self._prices.currency,
            co2_g=_round_known(self._prices.co2_g(joules)),
        )

    def host(self) -> models.HostEnergy | None:
        """Return the host's energy; None: it has not been accounted."""
        ledger, recent = self._ledger, self._recent
        if recent is None:
            return None
        host, seconds = recent.host, recent.duration_s
        domains = sum(it.joules for it in recent.domains.values())
        shown = ledger.by_second()
        return models.HostEnergy(
            source=host.source,
            modelled=host.is_modelled,
            hole=host.hole or None,
            holes_total=round(ledger.holes_s),
            measured_watts=_round(host.measured_joules / seconds),
            static_watts=_round(host.static_joules / seconds),
            static_calibrated=host.is_static_calibrated,
            idle_watts=_round(host.idle_joules / seconds),
            host_watts=_round(host.host_joules / seconds),
            domains_watts=_round(domains / seconds),
            error_watts=_round(host.error_joules / seconds),
            dram_watts=_per_second(host.dram_joules, seconds),
            psys_watts=_per_second(host.psys_joules, seconds),
            saved_watts=_round(host.saved_joules / seconds),
            saved_error_watts=_round(host.saved_error_joules / seconds),
            possible_watts=_round(host.possible_joules / seconds),
            measured_joules_total=_round(ledger.measured_joules),
            static_joules_total=_round(ledger.static_joules),
            idle_joules_total=_round(ledger.idle_joules),
            host_joules_total=_round(ledger.host_joules),
            domains_joules_total=_round(ledger.host.joules),
            saved_joules_total=_round(ledger.host.saved_joules),
            saved_error_joules_total=_round(ledger.host.saved_error_joules),
            possible_joules_total=_round(ledger.host.possible_joules),
            saved=self._value(ledger.host.saved_joules),
            measured_history_watts=tuple(
                round(it.host.measured_joules / it.duration_s, 1) for it in shown
            ),
            saved_history_watts=tuple(
                round(it.host.saved_joules / it.duration_s, 1) for it in shown
            ),
        )

    def document(
        self,
        names: Mapping[DomainId, str],
        state: EnergyState | None,
        *,
        is_enabled: bool,
    ) -> models.Energy:
        """Return the whole accounting.

        Args:
            names: of running domains.
            state: how energy is accounted; None: not yet.
            is_enabled: whether it is.
        """
        return models.Energy(
            enabled=is_enabled,
            host=self.host(),
            domains=tuple(self._domains(names)),
            packages=tuple(_packages(state)) if state else (),
            model=state.model if state else "",
            profile=state.profile if state else "",
        )

    def _domains(
        self, names: Mapping[DomainId, str]
    ) -> Iterable[models.EnergyOfDomain]:
        found = [
            models.EnergyOfDomain(domain=name, uuid=uuid, **dict(energy))
            for uuid, name in names.items()
            if (energy := self.domain(uuid))
        ]
        return sorted(found, key=lambda it: (-it.saved_joules_total, it.domain))


def _packages(state: EnergyState) -> Iterable[models.EnergyPackage]:
    for number, package in state.packages.items():
        joules, seconds = package.measured or (None, 0.0)
        yield models.EnergyPackage(
            package=number,
            measured_joules_total=_round_known(joules),
            measured_seconds_total=_round(seconds),
            cores=package.cores,
            static_watts=_round(package.static_w),
            static_calibrated=package.is_calibrated,
            residual_watts=_round(package.residual_w),
            observations_total=package.observations,
            ceiling_khz=package.ceiling_khz,
            curves=tuple(
                models.PowerCurve(
                    activity=activity,
                    points=tuple(
                        models.CurvePoint(khz=khz, watts=_round(watts))
                        for khz, watts in zip(curve.khz, curve.watts, strict=True)
                    ),
                )
                for activity, curve in package.curves.items()
            ),
        )


def _round(value: float) -> float:
    return round(value, _DIGITS)


def _round_known(value: float | None) -> float | None:
    return None if value is None else _round(value)


def _per_second(joules: float | None, seconds: float) -> float | None:
    return None if joules is None else _round(joules / seconds)
