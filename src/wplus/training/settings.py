"""Settings: dataclass fields with a meaning, a range, and whether a run may change them.

`config` lists the settings of training; this module checks them on construction, reads them from
JSON and describes them for the command line.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
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
        default: its default value.
        about: one line; the command's help and the documentation show it.
        low: smallest value.
        above: what the value must be larger than.
        high: largest value.
        changeable: whether a run may be resumed with another value.
    """
    limits = {"low": low, "above": above, "high": high}
    metadata = {"about": about, "changeable": changeable, **limits}
    made: Any = field(default=default, metadata=metadata)
    return made  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Option:
    """A setting as the command line and the documentation show it.

    Attributes:
        name: of the setting; the flag has dashes for its underscores.
        hint: its type.
        default: None where there is none.
        about: one line.
        changeable: whether a run may be resumed with another value.
    """

    name: str
    hint: Any
    default: Any
    about: str
    changeable: bool


class Settings:
    """Base of the frozen dataclasses that hold settings: checks every field on construction."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):  # type: ignore[arg-type]
            value = check(item.name, getattr(self, item.name), hints[item.name], item.metadata)
            object.__setattr__(self, item.name, value)

    @classmethod
    def parse(cls: type[T], content: object, group: str) -> T:
        """From the JSON form.

        Raises:
            ConfigError: it is no table, or a setting is unknown, malformed or out of range.
        """
        return cls(**table(content, [item.name for item in fields(cls)], group))  # type: ignore[arg-type]

    @classmethod
    def options(cls) -> list[Option]:
        """Every setting of the group."""
        hints = get_type_hints(cls)
        return [
            Option(
                item.name,
                hints[item.name],
                None if item.default is MISSING else item.default,
                item.metadata["about"],
                item.metadata["changeable"],
            )
            for item in fields(cls)  # type: ignore[arg-type]
        ]

    def values(self) -> dict[str, Any]:
        """The JSON form: what `parse` reads."""
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]


def table(content: object, names: list[str], group: str) -> Mapping[str, Any]:
    """Content as a table whose keys are among `names`.

    Raises:
        ConfigError: it is no table, or has another key.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(f"{group} must be a table of settings, not {content!r}")
    for name in content:
        if name not in names:
            raise ConfigError(f"{group} has no setting {name!r}; it has: {', '.join(names)}")
    return content


def check(name: str, value: object, hint: Any, limits: Mapping[str, Any]) -> Any:
    """A value as its type wants it: lists become tuples, whole numbers floats.

    Raises:
        ConfigError: it is of another type, or out of range.
    """
    value = _converted(value, hint)
    if not any(_is(value, option) for option in _options(hint)):
        raise ConfigError(f"{name} must be {_in_words(hint)}, not {value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_range(name, value, limits)
    return value


def _converted(value: object, hint: Any) -> object:
    """JSON has no tuples, and people write 1 for 1.0."""
    if isinstance(value, list | tuple):
        inner = [get_args(each)[0] for each in _options(hint) if get_origin(each) is tuple]
        return tuple(_converted(each, inner[0]) if inner else each for each in value)
    return float(value) if type(value) is int and float in _options(hint) else value


def _check_range(name: str, value: float, limits: Mapping[str, Any]) -> None:
    low, above, high = (limits.get(limit) for limit in ("low", "above", "high"))
    rules = []
    if low is not None:
        rules.append((value >= low, f"at least {low:g}"))
    if above is not None:
        rules.append((value > above, f"above {above:g}"))
    if high is not None:
        rules.append((value <= high, f"at most {high:g}"))
    if not math.isfinite(value) or not all(holds for holds, _ in rules):
        rule = " and ".join(text for _, text in rules) or "finite"
        raise ConfigError(f"{name} must be {rule}, not {value}")


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is(value: object, option: Any) -> bool:
    origin = get_origin(option)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(option)
    if origin is tuple:
        inner = _options(get_args(option)[0])
        return isinstance(value, tuple) and all(any(_is(x, i) for i in inner) for x in value)
    if option is int:
        return type(value) is int
    return isinstance(value, origin or option)


def _in_words(hint: Any) -> str:
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
