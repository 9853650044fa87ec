"""Which pictures are scored: those of a folder, or pairs of two folders, which must be whole."""

from __future__ import annotations

import os
from pathlib import Path

from wplus.data import finding
from wplus.errors import ConfigError

COMPARISON = ".compare"
"""Ends the names of the comparisons that `wplus invert` writes beside its reconstructions."""
_NAMED = 5  # files in a message


def pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures in a folder and its subfolders, in the order of their names.

    Hidden files and comparisons of `wplus invert` are left out; links to folders are not followed.

    Raises:
        ConfigError: no such folder, or no picture in it.
    """
    found = [Path(path) for name, path in finding.pictures_in(folder) if not _is_comparison(name)]
    if not found:
        raise ConfigError(f"{os.fsdecode(folder)}: holds nothing but comparisons of wplus invert")
    return found


def pair(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    suffixes: tuple[str, str] = ("", ""),
) -> list[tuple[str, Path, Path]]:
    """Pairs of two folders by stem, less the suffix: `a/faces/1.jpg` and `b/faces/1_out.png`.

    Scores of some of the pictures are no scores of the folders, so all must pair.

    Returns:
        (name, picture of the first, picture of the second), in the order of the names.

    Raises:
        ConfigError: a folder is missing or empty, or pictures have no partner or several; some of
            them are named.
    """
    pairs, problems = finding.pair(first, second, *suffixes)
    alone = [path for path, _ in problems if not _is_comparison(Path(path).stem)]
    if alone:
        more = f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else ""
        raise ConfigError(
            f"{len(alone)} pictures have no partner of the same stem, or several:"
            f" {', '.join(alone[:_NAMED])}{more}"
        )
    return [
        (name, Path(source), Path(target))
        for name, source, target in pairs
        if not _is_comparison(name)
    ]


def _is_comparison(name: str) -> bool:
    return name.endswith(COMPARISON)
