"""What a folder of sources was made with, kept in it, so that no folder holds two recipes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wplus.data.finding import pictures_in
from wplus.errors import ConfigError
from wplus.files import atomic

NAME = "prepare.json"
VERSION = 1


def keep_to(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Note down a folder's recipe, or refuse another one than it was begun with.

    A folder without pictures takes any recipe. One with pictures and no record is refused too:
    nobody can say how they were made, and a record would claim that they are of this recipe.

    Args:
        folder: of sources; it is made.
        recipe: what decides how the pictures look, by name; of JSON's types.

    Raises:
        ConfigError: the pictures in the folder are of another recipe, or of none that is known; or
            the record cannot be read or written.
    """
    file = folder / NAME
    if _has_pictures(folder):
        _compare(folder, _read(file), recipe)
        return
    try:
        with atomic(file) as temporary:
            temporary.write_text(json.dumps({"version": VERSION, "recipe": recipe}) + "\n")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror})") from error


def _has_pictures(folder: Path) -> bool:
    try:
        return folder.is_dir() and bool(pictures_in(folder))
    except ConfigError:  # none; a folder that cannot be read cannot be written either
        return False


def _compare(folder: Path, before: Mapping[str, Any] | None, recipe: Mapping[str, Any]) -> None:
    if before is None:
        raise ConfigError(
            f"{folder}: has pictures, but no {NAME} that says how they were made; name another"
            " folder for the sources (pictures that are put there later are kept)"
        )
    named = [*before, *(name for name in recipe if name not in before)]
    other = [name for name in named if before.get(name) != recipe.get(name)]
    if other:
        other = other[:1] if other[0] == "sources" else other  # another kind has other settings
        there, asked = (_said(each, other) for each in (before, recipe))
        raise ConfigError(
            f"{folder}: was prepared with {there}, not with {asked}; name another folder, or"
            " use the same settings"
        )


def _said(recipe: Mapping[str, Any], names: list[str]) -> str:
    """Settings in words: "seed 1, factors 8 16"."""
    words = []
    for name in names:
        value = recipe.get(name, "none")
        said = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        words.append(said.replace("_", " ") if name == "sources" else f"{name} {said}")
    return ", ".join(words)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("recipe"), dict):
        raise ConfigError(f"{file}: is no record of wplus prepare, or damaged; name another folder")
    if content.get("version") != VERSION:
        raise ConfigError(
            f"{file}: is of version {content.get('version')!r}; this wplus reads version {VERSION}"
        )
    recipe: dict[str, Any] = content["recipe"]
    return recipe
