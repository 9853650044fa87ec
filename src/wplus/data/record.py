"""The settings that a folder's content was made with, in a file in it; a folder has only one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wplus.errors import ConfigError
from wplus.files import atomic, parse_json


def keep_settings(file: Path, settings: Mapping[str, Any], *, occupied: bool) -> None:
    """Write the settings of an empty folder; check those of a folder with content.

    Args:
        file: JSON, in the folder; missing folders are made.
        settings: everything that determines the content, of JSON's types.
        occupied: the folder has content. It must have a settings file then.

    Raises:
        ConfigError: the content was made with other or unknown settings; or the file cannot be
            read or written.
    """
    if not occupied:
        try:
            with atomic(file) as temporary:
                temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written ({error.strerror})") from error
        return
    before = read_settings(file)
    if not before:
        raise ConfigError(
            f"{file.parent}: has content, but no {file.name} with its settings; choose another"
            " folder"
        )
    other = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    if other:
        raise ConfigError(
            f"{file.parent}: was made with {_in_words(before, other)}, not with"
            f" {_in_words(settings, other)}; choose another folder, or use the same settings"
        )


def read_settings(file: Path) -> dict[str, Any]:
    """The settings in a file; empty if there is no such file.

    Raises:
        ConfigError: it cannot be read, or holds no settings.
    """
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read as settings ({error})") from error
    content = content.get("recipe", content) if isinstance(content, dict) else None  # as in 0.1.0
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: holds no settings or is damaged; choose another folder")
    return content


def _in_words(settings: Mapping[str, Any], names: list[str]) -> str:
    """Settings as "seed 1, factors 8 16"."""
    values = ((name, settings.get(name, "none")) for name in names)
    return ", ".join(
        f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in values
    )
