"""The configuration of a model, written into every model file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from wplus.errors import ConfigError

PARTS = ("generator", "encoder", "corrector")
RESAMPLINGS = ("nearest", "bilinear")


@dataclass(frozen=True)
class Part:
    """One network: its kind (a row of a table in `models.registry`) and its arguments."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _tuples(self.options))

    @classmethod
    def parse(cls, content: object, what: str) -> Part:
        """From the JSON form. Raises ConfigError if it has another."""
        if not isinstance(content, Mapping) or set(content) - {"kind", "options"}:
            raise ConfigError(f"{what} must have 'kind' and 'options', not {content!r}")
        kind, options = content.get("kind"), content.get("options", {})
        if not isinstance(kind, str) or not isinstance(options, Mapping):
            raise ConfigError(f"{what} must have a name as 'kind' and a table as 'options'")
        if options.get("looks", 1) != 1:  # of version 0.1, which could train two passes
            raise ConfigError(f"the {what} makes two passes (looks); only wplus 0.1 reads it")
        return cls(kind, {name: value for name, value in options.items() if name != "looks"})


@dataclass(frozen=True)
class ModelConfig:
    """The networks of a PSP model and how its encoder is used.

    Attributes:
        generator: the generator.
        encoder: the encoder; None for a generator alone.
        corrector: of the generator's features; None for none.
        task: of the encoder's training, a name of `tasks.TASKS`.
        source: kind of the encoder's input, a name of `sources.SOURCES`.
        start_from_mean: whether codes are offsets from the mean code (E(x) + w̄) or absolute.
        license: of the weights, shown to the user.
        label_resampling: of label maps to the encoder's size: nearest, or bilinear like gray
            levels, as in the published training.
        generator_id: see `Generator.weights_id`; None where the file has none.
    """

    generator: Part
    encoder: Part | None = None
    corrector: Part | None = None
    task: str = "inversion"
    source: str = "photo"
    start_from_mean: bool = True
    license: str = ""
    label_resampling: str = "nearest"
    generator_id: str | None = None

    def __post_init__(self) -> None:
        kinds = {"task": str, "source": str, "start_from_mean": bool, "license": str,
                 "generator_id": str | None}  # fmt: skip
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                what = getattr(kind, "__name__", kind)
                raise ConfigError(f"{name} must be {what}, not {value!r}")
        if self.label_resampling not in RESAMPLINGS:
            raise ConfigError(
                f"label_resampling {self.label_resampling!r} is none of: {', '.join(RESAMPLINGS)}"
            )

    @property
    def parts(self) -> dict[str, Part]:
        """The networks that there are, by name."""
        named = {name: getattr(self, name) for name in PARTS}
        return {name: part for name, part in named.items() if part is not None}

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, content: object) -> ModelConfig:
        """From the JSON form; unknown settings are refused.

        Raises:
            ConfigError: a setting is missing, unknown or malformed.
        """
        if not isinstance(content, Mapping):
            raise ConfigError(f"a model's configuration must be a table, not {content!r}")
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown or "generator" not in content:
            raise ConfigError(
                f"unknown settings {', '.join(map(repr, unknown))} in a model's configuration"
                if unknown
                else "a model's configuration names no generator"
            )
        parts = {
            name: Part.parse(content[name], name)
            for name in PARTS
            if name == "generator" or content.get(name) is not None
        }
        return cls(**{**content, **parts})


def _tuples(value: Any) -> Any:
    """JSON lists to tuples at every depth, so that a configuration is immutable."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    return value
