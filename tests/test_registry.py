"""Registries: rows by name, in order, each name once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from wplus.errors import ConfigError
from wplus.registry import Registry


@dataclass(frozen=True)
class Row:
    name: str
    value: int = 0


def test_rows_are_found_by_name_and_keep_their_order() -> None:
    table = Registry("toy", [Row("b", 1), Row("a", 2)])
    added = table.register(Row("c", 3))
    assert list(table) == ["b", "a", "c"]
    assert table["a"].value == table.find("a").value == 2
    assert added is table["c"]
    assert len(table) == 3


def test_a_name_is_registered_once() -> None:
    table = Registry("toy", [Row("a")])
    with pytest.raises(ConfigError, match=r"already a toy named 'a'"):
        table.register(Row("a"))


def test_an_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    table = Registry("task", [Row("sketch"), Row("labels")])
    with pytest.raises(
        ConfigError, match=r"no task 'skech'; did you mean sketch\? there are: sketch, labels"
    ):
        table.find("skech")
    with pytest.raises(KeyError):
        table["skech"]


def test_a_row_can_be_removed() -> None:
    table = Registry("toy", [Row("a"), Row("b")])
    table.unregister("a")
    assert list(table) == ["b"]
    with pytest.raises(ConfigError):
        table.unregister("a")
