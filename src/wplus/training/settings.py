"""What a setting is: a field with its default, what it means, its range, and whether it may change.

`config` lists the settings; here is what all of them share: checks on construction, reading from
JSON and from the command line.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import Field, field, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from wplus.errors import ConfigError

T = TypeVar("T")


def setting(
    default: T,
    about: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    changeable: bool = False,
) -> T:
    """A field of a group of settings.

    Args:
        default: what it is if nobody says anything.
        about: one line for people; the command's help and the documentation show it.
        low: smallest value.
        above: what the value must be larger than.
        high: largest value.
        changeable: whether a run may go on with another value.
    """
    limits = {"low": low, "above": above, "high": high}
    made: Any = field(
        default=default, metadata={"about": about, "changeable": changeable, **limits}
    )
    return made  # type: ignore[no-any-return]


class Settings:
    """Base of the frozen dataclasses that hold settings: checks every field on construction."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):  # type: ignore[arg-type]
            value = _converted(getattr(self, item.name), hints[item.name])
            object.__setattr__(self, item.name, value)
            if not _fits(value, hints[item.name]):
                raise ConfigError(f"{item.name} must be {told(hints[item.name])}, not {value!r}")
            if isinstance(value, int | float) and not isinstance(value, bool):
                _check_range(item, value)

    @classmethod
    def parse(cls: type[T], content: object, what: str) -> T:
        """From the JSON form.

        Raises:
            ConfigError: it is no table, or a setting is unknown, malformed or out of range.
        """
        if not isinstance(content, Mapping):
            raise ConfigError(f"{what} must be a table of settings, not {content!r}")
        known = [item.name for item in fields(cls)]  # type: ignore[arg-type]
        unknown = sorted(set(content) - set(known))
        if unknown:
            raise ConfigError(f"{what} has no setting {unknown[0]!r}; it has: {', '.join(known)}")
        return cls(**content)


def _converted(value: object, hint: Any) -> object:
    """JSON knows no tuples, and people write 1 for 1.0."""
    if isinstance(value, list | tuple):
        inner = [get_args(each)[0] for each in _options(hint) if get_origin(each) is tuple]
        return tuple(_converted(each, inner[0]) if inner else each for each in value)
    return float(value) if type(value) is int and float in _options(hint) else value


def _check_range(item: Field[Any], value: float) -> None:
    low, above, high = (item.metadata.get(name) for name in ("low", "above", "high"))
    rules = []
    if low is not None:
        rules.append((value >= low, f"at least {low:g}"))
    if above is not None:
        rules.append((value > above, f"above {above:g}"))
    if high is not None:
        rules.append((value <= high, f"at most {high:g}"))
    if not math.isfinite(value) or not all(good for good, _ in rules):
        wanted = " and ".join(text for _, text in rules) or "finite"
        raise ConfigError(f"{item.name} must be {wanted}, not {value}")


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _fits(value: object, hint: Any) -> bool:
    for option in _options(hint):
        origin = get_origin(option)
        if origin is Literal:
            good = value in get_args(option) and isinstance(value, str)
        elif origin is tuple:
            inner = get_args(option)[0]
            good = isinstance(value, tuple) and all(_fits(part, inner) for part in value)
        elif origin is not None:
            good = isinstance(value, origin)
        elif option is int:
            good = type(value) is int
        else:
            good = isinstance(value, option)
        if good:
            return True
    return False


def told(hint: Any) -> str:
    """A type in words."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    parts = []
    for option in _options(hint):
        origin = get_origin(option)
        if origin is Literal:
            parts.append("one of " + ", ".join(get_args(option)))
        elif origin is tuple:
            parts.append("a list")
        elif option is not type(None):
            parts.append(words.get(option, "a table"))
    return " or ".join(parts)
