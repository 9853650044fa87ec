"""Tables of named rows that users may add to: tasks, source kinds, losses, metrics, networks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol, TypeVar

from wplus.errors import ConfigError, WplusError


class Named(Protocol):
    """An object with a name."""

    @property
    def name(self) -> str:
        """Its key in the table."""


Row = TypeVar("Row", bound=Named)


class Registry(Mapping[str, Row]):
    """Rows by name, in the order in which they were registered.

    Args:
        what: noun for a row in error messages ("task").
        rows: the rows to start with.
        error: raised where `ConfigError` is documented.
    """

    def __init__(
        self, what: str, rows: Iterable[Row] = (), error: type[WplusError] = ConfigError
    ) -> None:
        self._what = what
        self._error = error
        self._rows: dict[str, Row] = {}
        for row in rows:
            self.register(row)

    def register(self, row: Row) -> Row:
        """Add a row and return it.

        Raises:
            ConfigError: another row has this name.
        """
        if row.name in self._rows:
            raise self._error(f"there is already a {self._what} named {row.name!r}")
        self._rows[row.name] = row
        return row

    def find(self, name: str) -> Row:
        """The row of that name.

        Raises:
            ConfigError: there is none; the message suggests the nearest name and lists all.
        """
        if name in self._rows:
            return self._rows[name]
        near = difflib.get_close_matches(name.lower(), self._rows, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise self._error(f"no {self._what} {name!r}; {hint}there are: {', '.join(self._rows)}")

    def unregister(self, name: str) -> None:
        """Remove a row. Raises ConfigError if there is none of that name."""
        del self._rows[self.find(name).name]

    def __getitem__(self, name: str) -> Row:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def imported(home: str) -> Any:
    """The object at "module:name", for rows whose code is imported on first use."""
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)
