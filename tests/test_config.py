"""Configurations survive JSON, and what makes no sense is refused in one line."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from wplus.config import ModelConfig, Part
from wplus.errors import ConfigError

GENERATOR = Part("mobilestylegan", {"style_dim": 8, "channels": (8, 4)})
FULL = ModelConfig(
    generator=GENERATOR,
    encoder=Part("pyramid", {"stages": ((64, 3), (128, 4)), "levels": "largest"}),
    task="sketch",
    source="sketch",
    start_from_mean=False,
    license="non-commercial",
    label_resampling="bilinear",
)


@pytest.mark.parametrize("config", [FULL, ModelConfig(GENERATOR)])
def test_there_and_back(config: ModelConfig) -> None:
    text = config.to_json()
    assert "\n" not in text
    content = json.loads(text)
    assert set(content) == {field.name for field in dataclasses.fields(ModelConfig)}
    again = ModelConfig.parse(content)
    assert again == config
    assert again.to_json() == text


def test_lists_are_as_good_as_tuples() -> None:
    assert Part("a", {"stages": [[1, 2], [3, 4]]}) == Part("a", {"stages": ((1, 2), (3, 4))})
    assert Part.parse({"kind": "a", "options": {"b": {"c": [1]}}}, "x").options == {
        "b": {"c": (1,)}
    }


def test_defaults() -> None:
    config = ModelConfig.parse({"generator": {"kind": "stylegan2"}})
    assert config == ModelConfig(Part("stylegan2"))
    assert config.encoder is None
    assert (config.task, config.source) == ("inversion", "photo")
    assert config.start_from_mean
    assert config.label_resampling == "nearest"  # files that were written before there was any


def test_what_was_given_is_neither_kept_nor_changed() -> None:
    options: dict[str, Any] = {"channels": [8]}
    content = {"generator": {"kind": "a", "options": options}}
    config = ModelConfig.parse(content)
    options["channels"].append(9)
    assert config.generator.options == {"channels": (8,)}
    assert content == {"generator": {"kind": "a", "options": {"channels": [8, 9]}}}
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.task = "other"  # type: ignore[misc]


def test_encoders_of_two_passes_are_of_version_0_1() -> None:
    content = {"generator": {"kind": "stylegan2"}, "encoder": {"kind": "compact"}}
    once = {**content, "encoder": {"kind": "compact", "options": {"looks": 1, "width": 8}}}
    assert ModelConfig.parse(once).encoder == Part("compact", {"width": 8})
    with pytest.raises(ConfigError, match=r"the encoder makes two passes .* only wplus 0.1 reads"):
        ModelConfig.parse({**content, "encoder": {"kind": "compact", "options": {"looks": 2}}})


GOOD: dict[str, Any] = {"generator": {"kind": "stylegan2", "options": {}}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "must be a table, not None"),
        ([], "must be a table, not []"),
        ({}, "names no generator"),
        ({**GOOD, "colour": 1, "a\nb": 2}, r"unknown settings 'a\nb', 'colour'"),
        ({"generator": "stylegan2"}, "generator must have 'kind' and 'options'"),
        ({"generator": {}}, "generator must have a name as 'kind'"),
        ({"generator": {"kind": 3}}, "generator must have a name as 'kind'"),
        ({"generator": {"kind": "a", "options": []}}, "a table as 'options'"),
        ({"generator": {"kind": "a", "size": 3}}, "generator must have 'kind' and 'options'"),
        ({**GOOD, "encoder": 5}, "encoder must have 'kind' and 'options'"),
        ({**GOOD, "source": ["photo"]}, "source must be str"),
        ({**GOOD, "task": 3}, "task must be str, not 3"),
        ({**GOOD, "start_from_mean": "False"}, "start_from_mean must be bool, not 'False'"),
        ({**GOOD, "start_from_mean": 0}, "start_from_mean must be bool, not 0"),
        ({**GOOD, "license": None}, "license must be str"),
        ({**GOOD, "label_resampling": "cubic"}, "'cubic' is none of: nearest, bilinear"),
    ],
)
def test_what_makes_no_sense(content: object, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        ModelConfig.parse(content)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
