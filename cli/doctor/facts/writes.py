# SPDX-License-Identifier: Apache-2.0
"""Lines of scripts and configuration that set governors, frequencies or turbo.

Only writes count: a line that reads scaling_governor, or compares it, is none.

Source: cpupower(1), cpufreq-set(1), tuned-adm(8), powerprofilesctl(1), tlp(8),
x86_energy_perf_policy(8); udev(7); tmpfiles.d(5); sysfs.conf(5) of sysfsutils.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTRIBUTE = (
    r"(?:scaling_(?:governor|setspeed|min_freq|max_freq)|energy_performance_preference"
    r"|(?:min|max)_perf_pct|no_turbo|cpufreq/boost|(?:intel|amd)_pstate/status)"
)
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_COMMANDS = re.compile(
    r"""(?:^|[\s;&|('"`/@=-])(?:
    cpupower\s+(?:-\S+\s+(?:[\d,-]+|all)\s+)?(?:frequency-set|set)\b
    |cpufreq-set\s
    |tuned-adm\s+(?:profile\s+\S|auto_profile|off)
    |powerprofilesctl\s+set\b
    |x86_energy_perf_policy\s+[^|;&>\s]
    |tlp\s+(?:start|init|ac|bat)\b
    |auto-cpufreq\s+--(?:force|live|daemon|install)\b
    )""",
    re.VERBOSE,
)
_REDIRECTION = re.compile(r"(?:>>?|\btee\s+(?:-a\s+|--append\s+)?)\s*([^\s;&|>]+)")
_VARIABLE = re.compile(r"(?:\bfor\s+(\w+)\s+in\b|\b(\w+)=)[^;]*" + _ATTRIBUTE)
UDEV = re.compile(r"ATTR\{[^}]*" + _ATTRIBUTE + r"\}\s*=(?!=)")
TMPFILES = re.compile(r"^[wf]\S*\s+\S*" + _ATTRIBUTE)
SYSFS = re.compile(r"^(?!mode\b|owner\b)\S*" + _ATTRIBUTE + r"\s*=")


class Line(NamedTuple):
    """A line of a file."""

    number: int
    text: str
    """Without surrounding white space."""


def find_writes(
    lines: list[Line], setting: re.Pattern[str] | None = None
) -> Iterator[Line]:
    """Yield the lines that set something.

    Args:
        lines: of one script or file, so that the variables of a shell are known.
        setting: what sets an attribute other than a command of a shell.
    """
    variables = {"{}"}  # of xargs and find
    for line in lines:
        for found in _VARIABLE.findall(line.text):
            name = "".join(found)
            variables |= {f"${name}", f"${{{name}}}"}
        is_set = setting is not None and setting.search(line.text)
        if is_set or _is_command(line.text, variables):
            yield line


def _is_command(text: str, variables: set[str]) -> bool:
    if _COMMANDS.search(text):
        return True
    targets = [found.strip("\"'`)") for found in _REDIRECTION.findall(text)]
    return any(target in variables or _ATTRIBUTES.search(target) for target in targets)


def is_attribute(path: str) -> bool:
    """Whether a path is that of an attribute that sets frequencies."""
    return _ATTRIBUTES.search(path) is not None


def lines_of(text: str) -> list[Line]:
    """Return the lines of a text, without empty ones and comments."""
    numbered = enumerate(text.splitlines(), start=1)
    stripped = (Line(number, line.strip()) for number, line in numbered)
    return [line for line in stripped if line.text and line.text[0] not in "#;"]
