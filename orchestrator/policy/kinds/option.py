# SPDX-License-Identifier: Apache-2.0
"""The options of policy kinds: declared on fields, read, checked and printed; pure.

Theory of operation: a field of a policy is an option if `option` declares it, and the
type of the field is the type of the option. A rule keeps options as they are written:
numbers, text, tuples of text. These are *plain* values; `Option.parse` makes the value
of the policy's field from them, and `Option.to_plain` goes back.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestrator.errors import ConfigError
from orchestrator.policy.timetable import Window, format_window, parse_window
from orchestrator.values.energy_preference import (
    EXPECTED,
    WORDS,
    EnergyPreference,
    parse_preference,
)
from orchestrator.values.units import Microseconds, check_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from enum import StrEnum

    Spelling = Callable[[str], str]
    """Writes the name of an option as it is written where the policy comes from."""

T = TypeVar("T")

REQUIRED: Any = object()
"""The default of an option that has none."""
LONGEST_PERIOD_S = 3600.0
"""The longest time between two decisions of a policy."""
_DECLARATION = "option"


class Problem(NamedTuple):
    """Something that is wrong with a policy."""

    option: str
    """The name of the option to change."""
    text: str
    """What is wrong with it, and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How values of one type are written."""

    noun: str
    plural: str = ""
    """Of lists."""
    article: str = "a "
    choices: tuple[str, ...] = ()
    """Words that are values; all, or those that are used most."""
    suffix: str = ""
    """Unit behind a value that is written without the option's name."""
    plain: type
    """Of the plain value: float, int or str."""
    parse: Callable[[Any], Any]
    """Makes the value of a plain one; raises ConfigError."""
    to_plain: Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a policy kind, or one that all of them have."""

    name: str
    """With underscores, as in the configuration."""
    doc: str
    """One sentence."""
    form: Form
    is_list: bool = False
    default: Any = REQUIRED
    """Of the policy's field."""
    unit: str = ""
    least: float | None = None
    most: float | None = None
    alias: str = ""
    """A former name, which is still read."""
    is_bare: bool = False
    """Whether it is written without its name on the command line."""

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED

    @property
    def placeholder(self) -> str:
        """What stands for a value without a name in a synopsis: `high|medium|low`."""
        return "|".join(self.form.choices) or f"N{self.form.suffix}"

    @property
    def type_words(self) -> str:
        """Describe its values: `number from 0 to 1`, `list of times`."""
        if self.is_list:
            return f"list of {self.form.plural}"
        unit = f" of {self.unit}" if self.unit else ""
        if self.least is None:
            return f"{self.form.noun}{unit}"
        if self.most is None:
            return f"{self.form.noun}{unit}, {_plain(self.least)} or more"
        return (
            f"{self.form.noun}{unit} from {_plain(self.least)} to {_plain(self.most)}"
        )

    @property
    def about(self) -> str:
        """Describe its values and its default: `number from 0 to 1; default: 0.8`."""
        if self.is_required:
            return f"{self.type_words}; required"
        plain = self.to_plain(self.default)
        if plain in (None, ()):
            return self.type_words
        default = f"{plain:g}" if isinstance(plain, float) else plain
        return f"{self.type_words}; default: {default}"

    @property
    def expected(self) -> str:
        """Complete `expected ...` in an error."""
        article = "a " if self.is_list else self.form.article
        return f"{article}{self.type_words}"

    def read_toml(self, value: object) -> Any:  # noqa: ANN401 - a plain value
        """Make a plain value of one from a TOML file.

        Raises:
            ConfigError: it has the wrong type.
        """
        if self.is_list:
            if not isinstance(value, list):
                raise ConfigError(f"expected a {self.type_words}, got {value!r}")
            return tuple(map(self._read_item, value))
        return self._read_item(value)

    def _read_item(self, value: object) -> object:
        if self.form.plain is float and type(value) is int:
            try:
                return float(value)
            except OverflowError:
                raise self._invalid(value) from None
        if type(value) is not self.form.plain:
            expected = self.expected
            if self.is_list:
                expected = f"{self.form.article}{self.form.noun}"
            raise ConfigError(f"expected {expected}, got {value!r}")
        return value

    def read_text(self, text: str) -> Any:  # noqa: ANN401 - a plain value
        """Make a plain value, of a list one item, of text.

        Raises:
            ConfigError: a number is expected.
        """
        word = text.removesuffix(self.form.suffix) if self.is_bare else text
        try:
            return self.form.plain(word)
        except ValueError:
            raise self._invalid(text) from None

    def parse(self, plain: Any) -> Any:  # noqa: ANN401 - plain in, any type out
        """Make the value of the policy's field of a plain one.

        Raises:
            ConfigError: the value is invalid.
        """
        if self.is_list:
            return tuple(map(self._parse_item, plain))
        return self._parse_item(plain)

    def _parse_item(self, plain: Any) -> Any:  # noqa: ANN401
        # Written so that NaN is out of every range.
        if self.least is not None and not plain >= self.least:
            raise self._invalid(plain)
        if self.most is not None and not plain <= self.most:
            raise self._invalid(plain)
        try:
            return self.form.parse(plain)
        except ValueError:
            raise self._invalid(plain) from None

    def to_plain(self, value: Any) -> Any:  # noqa: ANN401 - any type in, plain out
        """Make a plain value of the value of a policy's field; None stays None."""
        if value is None:
            return None
        if self.is_list:
            return tuple(map(self.form.to_plain, value))
        return self.form.to_plain(value)

    def _invalid(self, value: object) -> ConfigError:
        return ConfigError(f"invalid value '{value}': expected {self.expected}")


def option(  # noqa: PLR0913 - each is one property of an option
    default: T,
    doc: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    alias: str = "",
    is_bare: bool = False,
) -> T:
    """Declare a field of a policy as an option.

    Args:
        default: its only default; `REQUIRED`: it must be given.
        doc: one sentence for help and manual.
        unit: of a number, in the plural: `seconds`.
        least: the lowest number allowed.
        most: the highest number allowed.
        alias: a former name, which is still read.
        is_bare: whether the command line has it without a name, as in `workload high`.
    """
    declaration = {
        "doc": doc,
        "unit": unit,
        "least": least,
        "most": most,
        "alias": alias,
        "is_bare": is_bare,
    }
    metadata = {_DECLARATION: declaration}
    if default is REQUIRED:
        return typing.cast("T", dataclasses.field(metadata=metadata))
    return dataclasses.field(default=default, metadata=metadata)


def period(default_s: float, *, least_s: float = 0.001) -> float:
    """Declare the option `period_s` of a policy.

    Args:
        default_s: its default.
        least_s: the shortest; below a millisecond it would be a busy loop.
    """
    return option(
        default_s,
        "Time between decisions.",
        unit="seconds",
        least=least_s,
        most=LONGEST_PERIOD_S,
    )


@functools.cache
def options_of(cls: type[Any]) -> Mapping[str, Option]:
    """Return the options that a policy class declares, in order, by name."""
    hints = inspect.get_annotations(cls, eval_str=True)
    found = {}
    for field in dataclasses.fields(cls):
        if _DECLARATION in field.metadata:
            is_required = field.default is dataclasses.MISSING
            form, is_list = _form_of(hints[field.name])
            found[field.name] = Option(
                name=field.name,
                form=form,
                is_list=is_list,
                default=REQUIRED if is_required else field.default,
                **field.metadata[_DECLARATION],
            )
    return types.MappingProxyType(found)


def _form_of(hint: Any) -> tuple[Form, bool]:  # noqa: ANN401 - a type hint
    if typing.get_origin(hint) is types.UnionType:  # ... | None
        hint = typing.get_args(hint)[0]
    is_list = typing.get_origin(hint) is tuple
    plain = typing.get_args(hint)[0] if is_list else hint
    known = _FORMS.get(plain)
    return (_choice(plain) if known is None else known), is_list


def _choice(kind: type[StrEnum]) -> Form:
    return Form(
        noun=alternatives(kind),
        article="",
        choices=tuple(map(str, kind)),
        plain=str,
        parse=kind,
        to_plain=str,
    )


def _parse_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    # A key that leads out of the zones is a ValueError, a directory an OSError.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"invalid time zone '{name}': expected a name such as Europe/Berlin"
        ) from None


_FORMS: Mapping[Any, Form] = {
    float: Form(noun="number", plain=float, parse=float, to_plain=float),
    int: Form(noun="whole number", plain=int, parse=int, to_plain=int),
    Window: Form(
        noun="time",
        plural="times",
        plain=str,
        parse=parse_window,
        to_plain=format_window,
    ),
    Microseconds: Form(
        noun="whole number", plain=int, parse=check_us, to_plain=int, suffix="us"
    ),
    EnergyPreference: Form(
        noun=EXPECTED,
        article="",
        choices=tuple(WORDS),
        plain=str,
        parse=parse_preference,
        to_plain=str,
    ),
    ZoneInfo: Form(noun="time zone", plain=str, parse=_parse_zone, to_plain=str),
}


def _plain(number: float) -> str:
    """Write a number without an exponent."""
    return str(int(number)) if number == int(number) else f"{number:g}"


def alternatives(words: Iterable[str]) -> str:
    """Write alternatives: `high, medium or low`."""
    *others, last = map(str, words)
    return f"{', '.join(others)} or {last}" if others else last
