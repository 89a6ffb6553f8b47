# SPDX-License-Identifier: Apache-2.0
"""A calibration as a document: measured once, valid for one model of processors."""

from __future__ import annotations

import json
import math

from orchestrator.energy.attribution import Calibration
from orchestrator.energy.curves import Curve
from orchestrator.errors import ConfigError

_MAX_W = 10_000.0


def write_calibration(calibration: Calibration, model: str) -> bytes:
    """Return the contents of a file.

    Args:
        calibration: what was measured.
        model: name of the processors that it was measured on.
    """
    curve = calibration.curve
    document = {
        "model": model,
        "static_w": {str(it): watts for it, watts in calibration.static_w.items()},
        "curve": curve and {"khz": curve.khz, "watts": curve.watts},
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def read_calibration(data: bytes, model: str) -> Calibration | None:
    """Return what was measured; None: on other processors than these.

    Raises:
        ConfigError: not a calibration.
    """
    try:
        document = json.loads(data)
        if document["model"] != model:
            return None
        static_w = {int(it): float(w) for it, w in document["static_w"].items()}
        curve = document["curve"]
        found = Calibration(
            static_w=static_w,
            curve=curve
            and Curve(tuple(map(int, curve["khz"])), tuple(map(float, curve["watts"]))),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"invalid calibration: {error!r}") from error
    check_calibration(found)
    return found


def check_calibration(calibration: Calibration) -> None:
    """Check what was measured.

    Raises:
        ConfigError: no host has such values.
    """
    watts = [*calibration.static_w.values()]
    if curve := calibration.curve:
        watts += curve.watts
        is_ascending = all(
            a < b for a, b in zip(curve.khz, curve.khz[1:], strict=False)
        )
        if not curve.khz or len(curve.khz) != len(curve.watts) or not is_ascending:
            raise ConfigError("invalid curve: expected watts for ascending frequencies")
    for value in watts:
        if not (math.isfinite(value) and 0 <= value <= _MAX_W):
            raise ConfigError(f"invalid power {value}: expected 0 to {_MAX_W:.0f} W")
